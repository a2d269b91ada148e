import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Consumer, consumeEvents, createStoreRetry } from '../../../src/cli/watch/run-watch.ts';
import { untilAborted } from '../../../src/lib/abort.ts';
import { UsageError } from '../../../src/lib/errors.ts';
import type { RollEvent } from '../../../src/record/events.ts';
import { EVERY_NODE } from '../../../src/record/filter.ts';
import {
  type EventBatch,
  type EventSource,
  FutureRevisionError,
  SlowReaderError,
} from '../../../src/registry/event-source.ts';
import { CompactedError, StoreError } from '../../../src/store/store-errors.ts';
import { sampleRecord } from '../../support/sample-record.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

describe('consume events', () => {
  const ALL = { kinds: null, nodes: EVERY_NODE };

  function certain(revision: string): RollEvent {
    return { kind: 'certain', revision, upTo: revision, part: 0, returned: 0, lost: 0 };
  }

  function batch(revision: string, cursor: string | null = revision): EventBatch {
    return { events: [certain(revision)], cursor };
  }

  type Opening = Error | readonly (EventBatch | Error)[];

  /** Each call of `events` returns the next opening. After its last batch the reader waits until the abort. */
  function consume(openings: readonly Opening[], options: Partial<Consumer> = {}) {
    const abort = new AbortController();
    const log: string[] = [];
    const left = [...openings];
    let idle = () => {};
    const waiting = new Promise<void>((resolve) => {
      idle = resolve;
    });
    const source: EventSource = {
      async events({ since, signal }) {
        log.push(`open after ${since}`);
        const opening = left.shift() ?? [];
        if (opening instanceof Error) throw opening;
        return (async function* () {
          for (const item of opening) {
            if (item instanceof Error) throw item;
            log.push(`pull ${item.cursor}`);
            yield item;
          }
          idle();
          await untilAborted(signal);
        })();
      },
    };
    const ended = consumeEvents({
      source,
      since: null,
      filter: ALL,
      deliver: async (events) => {
        log.push(`deliver ${events.map((event) => event.revision)}`);
      },
      onFinished: (cursor, told) => log.push(`finished ${cursor}${told ? '' : ' quietly'}`),
      storeRetry: { retryWhileAway: (work) => work() },
      signal: abort.signal,
      ...options,
    });
    return { log, abort, ended, waiting };
  }

  test('a batch is finished after it is delivered, and only then is the next one read', async () => {
    const { log, abort, ended, waiting } = consume([[batch('1', null), batch('2')]]);
    await waiting;
    assert.deepEqual(log, ['open after null', 'pull null', 'deliver 1', 'pull 2', 'deliver 2', 'finished 2']);
    abort.abort(new Error('ended by SIGTERM'));
    await assert.rejects(ended, /ended by SIGTERM/);
  });

  test('no events are read while the consumer does not take them', async () => {
    const { log, abort, ended } = consume([[batch('1'), batch('2')]], {
      deliver: () => untilAborted(abort.signal),
    });
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(log, ['open after null', 'pull 1']);
    abort.abort(new Error('ended by SIGTERM'));
    await assert.rejects(ended, /ended by SIGTERM/);
  });

  test('filtered events are not delivered, and the cursor still advances', async () => {
    const filter = { kinds: new Set(['lost'] as const), nodes: EVERY_NODE };
    const { log, waiting, abort, ended } = consume([[batch('1'), { events: [], cursor: '5' }]], { filter });
    await waiting;
    assert.deepEqual(log.slice(1), ['pull 1', 'finished 1 quietly', 'pull 5', 'finished 5 quietly']);
    abort.abort();
    await assert.rejects(ended);
  });

  test('a consumer that was too slow resumes after its last finished event', async () => {
    const slow = new SlowReaderError('too slow');
    const { log, waiting, abort, ended } = consume(
      [[batch('1'), batch('2', '1'), batch('3', null), slow], [batch('2')]],
      {
        since: '0',
      },
    );
    await waiting;
    assert.deepEqual(
      log.filter((line) => line.startsWith('open')),
      ['open after 0', 'open after 1'],
    );
    assert.deepEqual(log.slice(-3), ['pull 2', 'deliver 2', 'finished 2']);
    abort.abort();
    await assert.rejects(ended);
  });

  test('a cursor ahead of the store is an error at the start; later the watch restarts with a snapshot', async () => {
    const future = new FutureRevisionError('9', '3');
    await assert.rejects(consume([future], { since: '9' }).ended, future);
    const { log, waiting, abort, ended } = consume([
      [batch('9'), new SlowReaderError('too slow')],
      future,
      [batch('4')],
    ]);
    await waiting;
    assert.deepEqual(
      log.filter((line) => /^(open|finished)/.test(line)),
      ['open after null', 'finished 9', 'open after 9', 'finished null quietly', 'open after null', 'finished 4'],
      'and the old cursor is given up at once',
    );
    abort.abort();
    await assert.rejects(ended);
  });

  test('a consumer that was too slow in a snapshot restarts with a snapshot', async () => {
    const entry = { record: sampleRecord({}), presence: null };
    const piece: RollEvent = {
      kind: 'lost',
      revision: '3',
      instanceId: entry.record.ec2InstanceId,
      before: null,
      after: entry,
      snapshot: true,
    };
    const { log, waiting, abort, ended } = consume([
      [batch('9'), { events: [piece], cursor: null }, new SlowReaderError('too slow')],
      [batch('4')],
    ]);
    await waiting;
    assert.deepEqual(
      log.filter((line) => line.startsWith('open')),
      ['open after null', 'open after null'],
    );
    abort.abort();
    await assert.rejects(ended);
  });

  test('the cursor is cleared before a snapshot in mid-stream, and kept for one at the start', async () => {
    const entry = { record: sampleRecord({}), presence: null };
    const piece = (revision: string): EventBatch => ({
      events: [
        {
          kind: 'lost',
          revision,
          instanceId: entry.record.ec2InstanceId,
          before: null,
          after: entry,
          snapshot: true,
        },
      ],
      cursor: null,
    });
    const { log, waiting, abort, ended } = consume([[piece('9'), piece('9'), batch('9'), piece('4'), piece('4')]], {
      since: '8',
    });
    await waiting;
    assert.deepEqual(
      log.filter((line) => !line.startsWith('pull')),
      [
        'open after 8',
        ...['deliver 9', 'deliver 9', 'deliver 9', 'finished 9'],
        ...['finished null quietly', 'deliver 4', 'deliver 4'],
      ],
    );
    abort.abort();
    await assert.rejects(ended);
  });

  test('nor is it given up by a consumer that was too slow in a snapshot at the start', async () => {
    const entry = { record: sampleRecord({}), presence: null };
    const instanceId = entry.record.ec2InstanceId;
    const lost: RollEvent = { kind: 'lost', revision: '9', instanceId, before: null, after: entry, snapshot: true };
    const { log, waiting, abort, ended } = consume(
      [[{ events: [lost], cursor: null }, new SlowReaderError('too slow')], [batch('9')]],
      { since: '8' },
    );
    await waiting;
    assert.deepEqual(
      log.filter((line) => /^(open|finished)/.test(line)),
      ['open after 8', 'open after 8', 'finished 9'],
    );
    abort.abort();
    await assert.rejects(ended);
  });

  test('nor is it cleared where something else comes before the snapshot at the start', async () => {
    const entry = { record: sampleRecord({}), presence: null };
    const instanceId = entry.record.ec2InstanceId;
    const lost: RollEvent = { kind: 'lost', revision: '9', instanceId, before: null, after: entry, snapshot: true };
    const { log, waiting, abort, ended } = consume([[batch('9', null), { events: [lost], cursor: null }, batch('9')]], {
      since: '8',
    });
    await waiting;
    assert.deepEqual(
      log.filter((line) => line.startsWith('finished')),
      ['finished 9'],
    );
    abort.abort();
    await assert.rejects(ended);
  });

  test('an error of the delivery ends the watch', async () => {
    const error = new Error('a defect');
    await assert.rejects(consume([[batch('1')]], { deliver: () => Promise.reject(error) }).ended, error);
  });

  test('an event has the part of the cluster in the filter only', async () => {
    const entries = ['demo', 'other'].map((cluster) => ({ record: sampleRecord({ cluster }), presence: null }));
    const seen: RollEvent[] = [];
    const synced: EventBatch = { events: [{ kind: 'synced', revision: '1', entries }], cursor: '1' };
    const { waiting, abort, ended } = consume([[synced]], {
      filter: { kinds: null, nodes: { ...EVERY_NODE, cluster: new Set(['other']) } },
      deliver: async (events) => {
        seen.push(...events);
      },
    });
    await waiting;
    assert.deepEqual(seen, [{ kind: 'synced', revision: '1', entries: entries.slice(1) }]);
    abort.abort();
    await assert.rejects(ended);
  });
});

describe('store retry', () => {
  const AWAY = new StoreError('etcd://h: connection refused', { retryable: true });

  function storeRetry() {
    const clock = simulatedClock();
    const lines: string[] = [];
    const abort = new AbortController();
    const deps = { clock, random: () => 0.5, env: {}, signal: abort.signal };
    return {
      clock,
      lines,
      abort,
      ...createStoreRetry({ ...deps, log: (severity, line) => lines.push(`${severity}: ${line}`) }),
    };
  }

  test('an outage gives two lines, one at its start and one at its end, however long it is', async () => {
    const { clock, lines, retryWhileAway } = storeRetry();
    let tries = 0;
    const work = retryWhileAway(async () => {
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

  test('an error that a retry cannot fix ends the wait at once, without a line', async () => {
    const wrongPassword = new StoreError('wrong password', { retryable: false });
    const wrapped = new StoreError('the roll is not known', { retryable: true, cause: wrongPassword });
    const { lines, retryWhileAway } = storeRetry();
    for (const error of [wrongPassword, wrapped, new UsageError('too far'), new Error('a defect')]) {
      await assert.rejects(
        retryWhileAway(() => Promise.reject(error)),
        error,
      );
    }
    assert.deepEqual(lines, []);
  });

  test('after a compaction during a read the store is read again', async () => {
    const { clock, retryWhileAway } = storeRetry();
    let tries = 0;
    const work = retryWhileAway(async () => {
      tries += 1;
      const cause = new CompactedError('compacted');
      if (tries === 1) throw new StoreError('the roll is not known', { retryable: true, cause });
      return tries;
    });
    await clock.advance(1_000);
    assert.equal(await work, 2);
  });

  test('one outage is logged once, whichever component sees it', async () => {
    const { lines, observe } = storeRetry();
    observe(null);
    observe('connection reset');
    observe(AWAY);
    observe(null);
    observe(null);
    assert.equal(lines.length, 2);
  });

  test('a result from a cache does not end an outage that another component sees', async () => {
    const { lines, observe, retryWhileAway } = storeRetry();
    observe(AWAY);
    assert.equal(await retryWhileAway(async () => 'known already'), 'known already');
    observe(AWAY);
    assert.deepEqual(lines, ['warn: warning: etcd://h: connection refused; trying again until the store answers']);
  });

  test('an abort ends the wait', async () => {
    const { clock, abort, retryWhileAway } = storeRetry();
    const work = retryWhileAway(() => Promise.reject(AWAY));
    work.catch(() => {});
    await clock.advance(10);
    abort.abort(new Error('ended by SIGTERM'));
    await assert.rejects(work, /ended by SIGTERM/);
    assert.equal(clock.sleepers(), 0);
  });
});
