/**
 * A process of its own that writes to a store: `count PATH TIMES` adds one to a shared counter TIMES times, `pair PATH`
 * puts the same value under two keys until it is killed. It says `ready` when it has begun.
 */

import { systemClock } from '../../../src/lib/clock.ts';
import type { KeyValue, Kv } from '../../../src/store/kv.ts';
import { openSqliteKv } from '../../../src/store/sqlite/sqlite-kv.ts';

const [mode, path = '', times = '0'] = process.argv.slice(2);
const { signal } = new AbortController();
const config = { kind: 'sqlite', label: `sqlite:${path}`, path } as const;
const deps = { clock: systemClock, random: Math.random, bootId: 'boot-1', signal, create: true };
const kv = await openSqliteKv(config, deps);
process.stdout.write('ready\n');
if (mode === 'count') for (let n = 0; n < Number(times); n += 1) await addOne(kv);
else for (let n = 0; ; n += 1) await putPair(kv, `${process.pid}-${n}`);
await kv.close();

async function addOne(store: Kv): Promise<void> {
  let seen: KeyValue | null = null;
  for (;;) {
    const guards = [{ key: 'counter', modRevision: seen?.modRevision ?? '0' }];
    const puts = [{ key: 'counter', value: String(Number(seen?.value ?? 0) + 1), lease: '0' }];
    const result = await store.txn({ guards, puts, deletes: [], reads: ['counter'] }, signal);
    if (result.succeeded) return;
    seen = result.reads[0] ?? null;
  }
}

async function putPair(store: Kv, value: string): Promise<void> {
  const puts = ['pair/a', 'pair/b'].map((key) => ({ key, value, lease: '0' }));
  await store.txn({ guards: [], puts, deletes: [], reads: [] }, signal);
}
