import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { pollSource, type SourceAnswer, type SourceStatus } from '../../src/sources/poll-source.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { type SimulatedClock, simulatedClock } from '../support/simulated-clock.ts';

function poll(t: TestContext, clock: SimulatedClock, read: () => Promise<SourceAnswer<string>>) {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const statuses: SourceStatus[] = [];
  const results: unknown[] = [];
  pollSource<string>(
    {
      name: 'imds',
      read,
      intervalMs: 60_000,
      deadlineMs: 4_000,
      clock,
      random: seededRandom(3),
      onRead: (result, status) => {
        results.push(result);
        statuses.push(status);
      },
      onStep: () => {},
    },
    stop.signal,
  ).catch(() => {});
  return { statuses, results };
}

test('a source is read often until its first complete answer, then at the interval less up to a tenth', async (t) => {
  const clock = simulatedClock();
  let up = false;
  const { statuses } = poll(t, clock, async () => {
    if (!up) throw new Error('refused');
    return { value: 'facts', incomplete: null };
  });
  await clock.advance(10_000);
  assert.ok(statuses.length >= 3, `${statuses.length} reads in the first 10 s`);
  up = true;
  await clock.advance(60_000);
  const complete = statuses.length;
  await clock.advance(600_000);
  const more = statuses.length - complete;
  assert.ok(more >= 10 && more <= 11, `${more} reads in 10 minutes`);
});

test('after the first complete answer failures keep to the interval, since checks count them', async (t) => {
  const clock = simulatedClock();
  let reads = 0;
  const { statuses } = poll(t, clock, async () => {
    reads += 1;
    if (reads > 1) throw new Error('refused');
    return { value: 'facts', incomplete: null };
  });
  await clock.advance(180_000);
  assert.ok(statuses.length <= 5, `${statuses.length} reads`);
  assert.equal(statuses.at(-1)?.lastError, 'refused');
});

test('a read that hangs ends at its deadline; an incomplete answer is used and counted as a failure', async (t) => {
  const clock = simulatedClock();
  const hung = poll(t, clock, () => new Promise(() => {}));
  const partial = poll(t, clock, async () => ({ value: 'some', incomplete: 'one leaf failed' }));
  await clock.advance(4_000);
  assert.match(hung.statuses[0]?.lastError ?? '', /no answer within 4000 ms/);
  assert.deepEqual(partial.results[0], { value: 'some' });
  const [first] = partial.statuses;
  assert.deepEqual([first?.failures, first?.lastError, first?.lastSuccessAtMs], [1, 'one leaf failed', null]);
});
