import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createStorePatience } from '../../../src/cli/watch/run-watch.ts';
import { UsageError } from '../../../src/errors.ts';
import { CompactedError, StoreError } from '../../../src/store/errors.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

const AWAY = new StoreError('etcd://h: connection refused', { retryable: true });

function patience() {
  const clock = simulatedClock();
  const lines: string[] = [];
  const abort = new AbortController();
  const deps = { clock, random: () => 0.5, env: {}, signal: abort.signal };
  return {
    clock,
    lines,
    abort,
    ...createStorePatience({ ...deps, log: (severity, line) => lines.push(`${severity}: ${line}`) }),
  };
}

test('an outage is two lines, one when it begins and one when the store answers, however long it takes', async () => {
  const { clock, lines, whileAway } = patience();
  let tries = 0;
  const work = whileAway(async () => {
    tries += 1;
    if (clock.monotonicMs() < 1_000_000 + 600_000) throw AWAY;
    return 'answer';
  });
  await clock.advance(599_000);
  assert.deepEqual(lines, ['warn: warning: etcd://h: connection refused; trying again until the store answers']);
  assert.ok(tries > 100 && tries < 300, `tried ${tries} times in ten minutes`);
  await clock.advance(6_000);
  assert.equal(await work, 'answer');
  assert.deepEqual(lines.slice(1), ['info: note: the store answers again']);
});

test('what no wait can mend ends it at once and without a line of its own', async () => {
  const wrongPassword = new StoreError('wrong password', { retryable: false });
  const wrapped = new StoreError('the roll is not known', { retryable: true, cause: wrongPassword });
  const { lines, whileAway } = patience();
  for (const error of [wrongPassword, wrapped, new UsageError('too far'), new Error('a defect')]) {
    await assert.rejects(
      whileAway(() => Promise.reject(error)),
      error,
    );
  }
  assert.deepEqual(lines, []);
});

test('a compaction while the store was being read is a reason to read it again', async () => {
  const { clock, whileAway } = patience();
  let tries = 0;
  const work = whileAway(async () => {
    tries += 1;
    const cause = new CompactedError('compacted');
    if (tries === 1) throw new StoreError('the roll is not known', { retryable: true, cause });
    return tries;
  });
  await clock.advance(1_000);
  assert.equal(await work, 2);
});

test('the same outage is told once, whoever sees it', async () => {
  const { lines, observe } = patience();
  observe(null);
  observe('connection reset');
  observe(AWAY);
  observe(null);
  observe(null);
  assert.equal(lines.length, 2);
});

test('work that did not have to wait is no word of the store: an outage that somebody else sees goes on', async () => {
  const { lines, observe, whileAway } = patience();
  observe(AWAY);
  assert.equal(await whileAway(async () => 'known already'), 'known already');
  observe(AWAY);
  assert.deepEqual(lines, ['warn: warning: etcd://h: connection refused; trying again until the store answers']);
});

test('an abort ends the wait', async () => {
  const { clock, abort, whileAway } = patience();
  const work = whileAway(() => Promise.reject(AWAY));
  work.catch(() => {});
  await clock.advance(10);
  abort.abort(new Error('ended by SIGTERM'));
  await assert.rejects(work, /ended by SIGTERM/);
  assert.equal(clock.sleepers(), 0);
});
