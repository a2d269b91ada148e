import assert from 'node:assert/strict';
import { chmodSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Clock } from '../../src/lib/clock.ts';
import { describeError } from '../../src/lib/errors.ts';
import { createRollStore } from '../../src/store/roll-store.ts';
import { MAX_CHANGES } from '../../src/store/sqlite/engine.ts';
import { openSqliteKv } from '../../src/store/sqlite/sqlite-kv.ts';
import type { Store } from '../../src/store/store.ts';
import { CompactedError, StoreError } from '../../src/store/store-errors.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import type { Backend } from './contract-world.ts';
import { follow } from './follow.ts';
import { anySignal, put, type SqliteBackend, startSqlite } from './sqlite-backend.ts';
import { describeStoreContract } from './store-contract.ts';

describeStoreContract('sqlite:', async (): Promise<Backend> => {
  const backend = await startSqlite();
  return {
    ttlMs: 1_000,
    open: () => backend.open(),
    pass: (ms) => backend.clock.advance(ms),
    compact: async () => {
      const kv = await backend.open({ keptChanges: 1 });
      await put(kv, 'filler', '1');
      await put(kv, 'filler', '2');
    },
    dispose: () => backend.dispose(),
  };
});

describe('the embedded store', () => {
  let backend: SqliteBackend;
  beforeEach(async () => {
    backend = await startSqlite();
  });
  afterEach(() => backend.dispose());

  const keys = async (kv: Awaited<ReturnType<SqliteBackend['open']>>) =>
    (await kv.range({ prefix: 'v1/' }, anySignal)).kvs.map(({ key }) => key);

  it('ends a lease at its deadline and not before, and shows it to a watcher within 200 ms', async () => {
    const kv = await backend.open();
    const { lease } = await kv.grant(30_000, anySignal);
    const follower = follow(createRollStore(kv), await put(kv, 'v1/presence/i-00000000', 'junk', lease));
    await backend.clock.advance(29_999);
    assert.deepEqual(follower.changes(), []);
    await backend.clock.advance(201);
    assert.equal(follower.changes().length, 1);
    assert.equal(await kv.keepAlive(lease, anySignal), false);
    await follower.stop();
  });

  it('measures the remaining time of a lease on the clock that ends it', async () => {
    const kv = await backend.open();
    const { lease } = await kv.grant(30_000, anySignal);
    const leftMs = async (of: typeof kv) => (await of.remaining([lease], anySignal))[0]?.remainingMs;
    await backend.clock.advance(10_000);
    backend.clock.jumpWall(5_000);
    assert.equal(await leftMs(kv), 20_000);
    // After the boot the monotonic scale starts anew, and the wall clock judges.
    const clock = simulatedClock({ monotonicMs: 5_000, wallMs: backend.clock.wallMs() });
    assert.equal(await leftMs(await backend.open({ clock, bootId: 'boot-2' })), 15_000);
    assert.equal(await leftMs(await backend.open({ clock, bootId: 'unknown' })), 15_000);
  });

  it('gives a database without an id one, once, and keeps its data', async () => {
    const kv = await backend.open();
    await put(kv, 'v1/a', '1');
    await kv.close();
    makeDatabase(backend.path, 'DROP TABLE identity');
    const both = [await backend.open(), await backend.open()];
    const ids = await Promise.all(both.map((one) => one.id(anySignal)));
    assert.match(ids[0] ?? '', /^[0-9a-f]{32}$/);
    assert.equal(ids[1], ids[0]);
    assert.deepEqual(await keys(both[0] ?? kv), ['v1/a']);
  });

  it('has another id after it was deleted and created again', async () => {
    const kv = await backend.open();
    const id = await kv.id(anySignal);
    rmSync(backend.path);
    assert.notEqual(await kv.id(anySignal), id);
  });

  it('does not end a lease because the wall clock was set', async () => {
    const kv = await backend.open();
    const { lease } = await kv.grant(30_000, anySignal);
    await put(kv, 'v1/a', '1', lease);
    for (const jumpMs of [86_400_000, -2 * 86_400_000]) {
      backend.clock.jumpWall(jumpMs);
      assert.deepEqual(await keys(kv), ['v1/a']);
    }
    await backend.clock.advance(30_000);
    assert.deepEqual(await keys(kv), []);
  });

  it('leases of an earlier boot end by the wall clock, those renewed since by the new boot’s clock', async () => {
    const first = await backend.open();
    const [short, long] = [await first.grant(30_000, anySignal), await first.grant(3_600_000, anySignal)];
    await put(first, 'v1/presence', '1', short.lease);
    await put(first, 'v1/record', '1', long.lease);
    await first.close();
    // After the boot the monotonic scale starts anew: far below the deadlines written on the old one.
    const clock = simulatedClock({ monotonicMs: 5_000, wallMs: backend.clock.wallMs() + 60_000 });
    const second = await backend.open({ clock, bootId: 'boot-2' });
    assert.deepEqual(await keys(second), ['v1/record']);
    assert.equal(await second.keepAlive(long.lease, anySignal), true);
    clock.jumpWall(7_200_000);
    assert.deepEqual(await keys(second), ['v1/record']);
    await clock.advance(3_600_000);
    assert.deepEqual(await keys(second), []);
  });

  it('a lease of an earlier boot whose clock was ahead starts anew, once', async () => {
    const first = await backend.open();
    const [short, long] = [await first.grant(30_000, anySignal), await first.grant(3_600_000, anySignal)];
    await put(first, 'v1/presence', '1', short.lease);
    await put(first, 'v1/record', '1', long.lease);
    await first.close();
    for (const [bootId, behindMs] of [
      ['boot-0', 3_600_000],
      ['boot-2', 7_200_000],
    ] as const) {
      const clock = simulatedClock({ monotonicMs: 5_000, wallMs: backend.clock.wallMs() - behindMs });
      const kv = await backend.open({ clock, bootId });
      const leftMs = async () =>
        (await kv.remaining([short.lease, long.lease], anySignal)).map((time) => time?.remainingMs);
      assert.deepEqual(await leftMs(), [30_000, 3_600_000], bootId);
      await clock.advance(10_000);
      assert.deepEqual(await leftMs(), [20_000, 3_590_000], bootId);
      if (bootId === 'boot-0') continue;
      await clock.advance(20_000);
      assert.deepEqual(await keys(kv), ['v1/record'], 'that of a dead agent ends a TTL later');
    }
  });

  it('lets an agent register after a boot with a clock that is behind', async () => {
    const id = sampleInstanceId();
    const register = (store: Store, session: string, clock: Pick<Clock, 'wallMs'>) => {
      const record = sampleRecord({ ec2InstanceId: id, sidecar: { version: '1', session } });
      const since = new Date(clock.wallMs()).toISOString();
      const registration = { instanceId: id, session, since, ttlMs: 30_000, retentionMs: 3_600_000 };
      return store.register(registration, record, { takeover: true, signal: anySignal });
    };
    const before = await backend.open();
    assert.equal((await register(createRollStore(before), 'before the boot', backend.clock)).kind, 'registered');
    await before.close();
    const clock = simulatedClock({ monotonicMs: 5_000, wallMs: backend.clock.wallMs() - 3_600_000 });
    const store = createRollStore(await backend.open({ clock, bootId: 'boot-2' }));
    const superseded = { kind: 'superseded', by: 'before the boot' };
    assert.deepEqual(await register(store, 'after it', clock), superseded);
    // As the publisher does.
    await clock.advance(33_000);
    assert.equal((await register(store, 'after it', clock)).kind, 'registered');
  });

  it('leases end by the wall clock if the kernel has no boot id', async () => {
    const kv = await backend.open({ bootId: 'unknown' });
    const { lease } = await kv.grant(30_000, anySignal);
    await put(kv, 'v1/a', '1', lease);
    backend.clock.jumpWall(30_001);
    assert.deepEqual(await keys(kv), []);
    await put(kv, 'v1/a', '1', (await kv.grant(30_000, anySignal)).lease);
    backend.clock.jumpWall(-86_400_000);
    assert.deepEqual(await keys(kv), ['v1/a']);
    await backend.clock.advance(30_000);
    assert.deepEqual(await keys(kv), [], 'a clock that is set back keeps it for a TTL at most');
  });

  it('keeps a bounded log: newer revisions can be resumed from, older ones are refused', async () => {
    const kv = await backend.open({ keptChanges: 10 });
    const revisions: string[] = [];
    for (let n = 0; n < 50; n += 1) revisions.push(await put(kv, 'v1/a', String(n)));
    const follower = follow(createRollStore(kv), revisions.at(-6) ?? '');
    await backend.clock.advance(300);
    assert.equal(follower.batches.length, 5);
    await follower.stop();
    assert.ok((await follow(createRollStore(kv), revisions[10] ?? '').ended) instanceof CompactedError);
    await assert.rejects(kv.range({ prefix: 'v1/', revision: revisions[10] ?? '' }, anySignal), CompactedError);
    const past = await kv.range({ prefix: 'v1/', revision: revisions.at(-6) ?? '' }, anySignal);
    assert.deepEqual(
      past.kvs.map(({ value, modRevision }) => [value, modRevision]),
      [['44', revisions.at(-6)]],
    );
  });

  it('reads past revisions as they were: changed, deleted and new keys', async () => {
    const kv = await backend.open();
    const { lease } = await kv.grant(30_000, anySignal);
    for (const key of ['v1/changed', 'v1/deleted', 'v1/expired', 'v1/same']) {
      await put(kv, key, 'old', key === 'v1/expired' ? lease : '0');
    }
    const before = await kv.range({ prefix: 'v1/' }, anySignal);
    for (const value of ['new', 'newer']) {
      await put(kv, 'v1/changed', value);
      await put(kv, 'v1/made', value);
      await put(kv, 'v1/deleted', value);
    }
    await kv.txn({ guards: [], puts: [], deletes: ['v1/deleted'], reads: [] }, anySignal);
    await backend.clock.advance(30_000);
    assert.deepEqual(await kv.range({ prefix: 'v1/', revision: before.revision }, anySignal), before);
    assert.deepEqual(await keys(kv), ['v1/changed', 'v1/made', 'v1/same']);
  });

  it('returns no keys outside the prefix or before the start of the page', async () => {
    const kv = await backend.open();
    for (const key of ['v1', 'v1/a', 'v1/b', 'v1/é', 'v10', 'v2/a']) await put(kv, key, '1');
    assert.deepEqual(await keys(kv), ['v1/a', 'v1/b', 'v1/é']);
    const rest = await kv.range({ prefix: 'v1/', from: 'v1/b' }, anySignal);
    assert.deepEqual(
      rest.kvs.map(({ key }) => key),
      ['v1/b', 'v1/é'],
    );
  });

  it('neither a renewal nor a write without changes makes a revision', async () => {
    const kv = await backend.open();
    const revision = await put(kv, 'v1/a', '1');
    const { lease } = await kv.grant(30_000, anySignal);
    await kv.keepAlive(lease, anySignal);
    await kv.releaseEmpty(lease, anySignal);
    const nothing = await kv.txn({ guards: [], puts: [], deletes: ['v1/none'], reads: [] }, anySignal);
    assert.equal(nothing.revision, revision);
  });

  it('releases a lease only when it has no keys', async () => {
    const kv = await backend.open();
    const { lease } = await kv.grant(30_000, anySignal);
    await put(kv, 'v1/a', '1', lease);
    assert.equal(await kv.releaseEmpty(lease, anySignal), false);
    assert.equal(await kv.keepAlive(lease, anySignal), true);
    await put(kv, 'v1/a', '1');
    assert.equal(await kv.releaseEmpty(lease, anySignal), true);
    assert.equal(await kv.keepAlive(lease, anySignal), false);
    assert.equal(await kv.releaseEmpty(lease, anySignal), true, 'it is gone');
  });

  it('shows a watcher that is far behind every revision whole', async () => {
    const kv = await backend.open();
    const revision = await put(kv, 'first', '1');
    const puts = Array.from({ length: MAX_CHANGES * 1.5 }, (_, n) => ({ key: `v1/${n}`, value: '1', lease: '0' }));
    for (let n = 0; n < 3; n += 1) {
      await kv.txn({ guards: [], puts, deletes: [], reads: [] }, anySignal);
      await put(kv, 'v1/0', 'between');
    }
    const follower = follow(createRollStore(kv), revision);
    await backend.clock.advance(100);
    const sizes = follower.batches.map(({ changes }) => changes.length);
    assert.deepEqual(sizes, [puts.length, 1, puts.length, 1, puts.length, 1]);
    await follower.stop();
  });

  it('refuses to watch from a revision that is not from this store', async () => {
    const kv = await backend.open();
    assert.ok((await follow(createRollStore(kv), '999').ended) instanceof CompactedError);
  });

  it('only the owner can read or write its file', async () => {
    await backend.open();
    assert.equal(statSync(backend.path).mode & 0o777, 0o600);
  });

  it('uses the new file after the old one was deleted, and tells watchers to start over', async () => {
    const [kv, other] = [await backend.open(), await backend.open()];
    const { lease } = await kv.grant(30_000, anySignal);
    const follower = follow(createRollStore(kv), await put(kv, 'v1/a', '1', lease));
    await backend.clock.advance(200);
    rmSync(backend.path);
    await put(other, 'v1/b', '1');
    await put(other, 'v1/c', '1');
    assert.deepEqual(await keys(kv), ['v1/b', 'v1/c']);
    assert.equal(await kv.keepAlive(lease, anySignal), false);
    await backend.clock.advance(200);
    assert.ok((await follower.ended) instanceof CompactedError);
    await Promise.all([kv.close(), other.close()]);
    assert.deepEqual(await keys(await backend.open()), ['v1/b', 'v1/c']);
  });

  it('says that another process keeps the file locked, after its deadline', async () => {
    const kv = await backend.open();
    const blocker = new DatabaseSync(backend.path);
    blocker.exec('BEGIN IMMEDIATE');
    let failure: unknown;
    const write = put(kv, 'v1/a', '1').catch((error: unknown) => {
      failure = error;
    });
    for (let tries = 0; failure === undefined && tries < 200; tries += 1) await backend.clock.advance(100);
    await write;
    blocker.exec('ROLLBACK');
    blocker.close();
    assert.ok(failure instanceof StoreError && failure.retryable);
    assert.match(failure.message, /another process keeps it locked/);
    assert.deepEqual(await keys(kv), []);
    await put(kv, 'v1/a', '1');
  });

  it('stops waiting for a lock when its signal aborts the opening', async () => {
    await (await backend.open()).close();
    const blocker = new DatabaseSync(backend.path);
    blocker.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    const controller = new AbortController();
    const reason = new Error('enough');
    const opening = backend.open({ signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(opening, reason);
    blocker.close();
    const kv = await backend.open({ signal: controller.signal }).catch((error: unknown) => error);
    assert.equal(kv, reason, 'nor does it begin');
  });

  it('names the problem of a path that it cannot use', async () => {
    const directory = dirname(backend.path);
    const missing = join(directory, 'none');
    for (const [path, message, create] of [
      [directory, /it is not a file/, false],
      [join(missing, 'roll.db'), /there is no such file; start an agent on it/, false],
      [join(missing, 'deeper', 'roll.db'), new RegExp(`its folder ${missing} does not exist; create it$`), true],
    ] as const) {
      const config = { kind: 'sqlite', label: `sqlite:${path}`, path } as const;
      const deps = { clock: backend.clock, random: Math.random, bootId: 'boot-1', signal: anySignal, create };
      await assert.rejects(
        openSqliteKv(config, deps),
        (error) => error instanceof StoreError && message.test(describeError(error)),
      );
    }
  });

  it('refuses a file that it may read but not write, and leaves it unchanged', async () => {
    await (await backend.open()).close();
    chmodSync(dirname(backend.path), 0o755);
    chmodSync(backend.path, 0o444);
    const before = readFileSync(backend.path);
    await asOtherUser(async () => {
      await assert.rejects(backend.open(), (error) => {
        assert.ok(error instanceof StoreError && !error.retryable);
        assert.match(describeError(error), /cannot be opened for writing: EACCES/);
        return true;
      });
    });
    assert.deepEqual(readFileSync(backend.path), before);
  });

  const refusals = [
    ['a text file', (path: string) => writeFileSync(path, 'hello '.repeat(100)), /not a database/],
    ['a short file', (path: string) => writeFileSync(path, 'hello'), /not a database/],
    [
      'the database of another program',
      (path: string) => makeDatabase(path, 'CREATE TABLE a (b)'),
      /belongs to another program/,
    ],
    [
      'a database of a newer version',
      (path: string) =>
        makeDatabase(path, 'PRAGMA application_id = 1382826860; PRAGMA user_version = 7; CREATE TABLE a (b)'),
      /have version 7, this program knows version 1; use a rollcall that knows version 7/,
    ],
  ] as const;
  for (const [what, make, message] of refusals) {
    it(`refuses ${what} in one line and leaves it unchanged`, async () => {
      make(backend.path);
      const before = readFileSync(backend.path);
      await assert.rejects(backend.open(), (error) => {
        assert.ok(error instanceof StoreError && !error.retryable);
        assert.match(error.message, message);
        assert.ok(error.message.startsWith(`open store sqlite:${backend.path}: `) && !error.message.includes('\n'));
        return true;
      });
      assert.deepEqual(readFileSync(backend.path), before);
    });
  }
});

/** Root may write everything: runs `work` without its rights where the test has them. */
async function asOtherUser(work: () => Promise<void>): Promise<void> {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  try {
    await work();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

function makeDatabase(path: string, sql: string): void {
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
}
