import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../../src/lib/clock.ts';
import { anySignal, put, type SqliteBackend, startSqlite } from '../sqlite-backend.ts';

const SCRIPT = fileURLToPath(new URL('./writer-process.ts', import.meta.url));

describe('the embedded store among processes', () => {
  const children: ChildProcess[] = [];
  let backend: SqliteBackend;
  beforeEach(async () => {
    backend = await startSqlite();
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await backend.dispose();
  });

  const spawnWriter = (...args: string[]) => {
    const child = spawn(process.execPath, [SCRIPT, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    return child;
  };
  const open = () => backend.open({ clock: systemClock });

  it('is created once by several processes that open it at the same time, and loses none of their writes', async () => {
    const writers = [1, 2, 3, 4].map(() => spawnWriter('count', backend.path, '100'));
    const exits = await Promise.all(writers.map(async (writer) => (await once(writer, 'exit'))[0]));
    assert.deepEqual(exits, [0, 0, 0, 0]);
    const { revision, kvs } = await (await open()).range({ prefix: 'counter' }, anySignal);
    assert.deepEqual(
      kvs.map(({ value }) => value),
      ['400'],
    );
    assert.equal(revision, '401', 'one revision for each write, from 1 on');
  });

  it('is whole after a writer was killed in the middle of its work', async () => {
    const kv = await open();
    for (let round = 0; round < 5; round += 1) {
      const { revision: before } = await kv.range({ prefix: 'pair/' }, anySignal);
      const writer = spawnWriter('pair', backend.path);
      await once(writer.stdout ?? writer, 'data');
      while (Number((await kv.range({ prefix: 'pair/' }, anySignal)).revision) < Number(before) + 20 + round) {
        await systemClock.sleep(1, anySignal);
      }
      writer.kill('SIGKILL');
      await once(writer, 'exit');
      const { kvs, revision } = await kv.range({ prefix: 'pair/' }, anySignal);
      assert.equal(kvs.length, 2);
      assert.deepEqual([kvs[0]?.value, kvs[0]?.modRevision], [kvs[1]?.value, kvs[1]?.modRevision]);
      assert.equal(
        Number(await put(kv, 'after', String(round))),
        Number(revision) + 1,
        'the lock went with the writer',
      );
    }
    await kv.close();
    const db = new DatabaseSync(backend.path);
    assert.deepEqual({ ...db.prepare('PRAGMA integrity_check').get() }, { integrity_check: 'ok' });
    db.close();
  });
});
