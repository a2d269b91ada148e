import assert from 'node:assert/strict';
import { test } from 'node:test';
import { enumerateInstances } from '../../src/ecs/enumerate-instances.ts';
import { paceEcsApi } from '../../src/ecs/pace-ecs-api.ts';
import { fakeEcs } from '../support/fake-ecs.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const { signal } = new AbortController();

test('10,000 nodes are enumerated with 200 requests, two a second, in under three minutes', async () => {
  const clock = simulatedClock();
  const fake = fakeEcs(10_000, clock.monotonicMs);
  const startMs = clock.monotonicMs();
  let endMs: number | null = null;
  const enumerating = enumerateInstances(paceEcsApi(fake, clock, 2), ['demo'], signal).then((all) => {
    endMs = clock.monotonicMs();
    return all;
  });
  for (let passedMs = 0; endMs === null && passedMs < 600_000; passedMs += 5_000) await clock.advance(5_000);
  assert.equal((await enumerating).instances.length, 10_000);
  assert.equal(fake.requests.length, 200);
  assert.ok((endMs ?? Number.NaN) - startMs < 180_000, `${(endMs ?? Number.NaN) - startMs} ms`);
  for (const [index, { atMs }] of fake.requests.entries()) {
    const third = fake.requests[index + 2];
    assert.ok(!third || third.atMs - atMs >= 1_000, 'a third request within a second');
  }
});

test('all its users share one budget, and one that gives up leaves its turn to the next', async () => {
  const clock = simulatedClock();
  const fake = fakeEcs(1, clock.monotonicMs);
  const api = paceEcsApi(fake, clock, 2);
  const startMs = clock.monotonicMs();
  await api.listClusters(null, signal);
  const impatient = new AbortController();
  const givenUp = assert.rejects(api.listClusters(null, impatient.signal), /gave up/);
  await clock.advance(100);
  impatient.abort(new Error('gave up'));
  await givenUp;
  const others = Promise.all([api.listContainerInstances('demo', null, signal), api.listClusters(null, signal)]);
  await clock.advance(2_000);
  await others;
  assert.deepEqual(
    fake.requests.map(({ name, atMs }) => [name, atMs - startMs]),
    [
      ['ListClusters', 0],
      ['ListContainerInstances', 500],
      ['ListClusters', 1_000],
    ],
  );
  api.close();
  assert.equal(fake.closed, 1);
});

test('a call whose signal is over is not made', async () => {
  const clock = simulatedClock();
  const fake = fakeEcs(1, clock.monotonicMs);
  await assert.rejects(paceEcsApi(fake, clock, 2).listClusters(null, AbortSignal.abort(new Error('over'))), /over/);
  assert.deepEqual(fake.requests, []);
});
