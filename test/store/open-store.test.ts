import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { systemClock } from '../../src/lib/clock.ts';
import { openStore } from '../../src/store/open-store.ts';
import { loadSqlite } from '../../src/store/sqlite/database.ts';
import { minimumTtlMs, type StoreConfig } from '../../src/store/store-url.ts';
import { sampleRecord } from '../support/sample-record.ts';

describe('open store', () => {
  const { signal } = new AbortController();
  const deps = { clock: systemClock, random: Math.random, signal, create: true };

  const etcd: StoreConfig = {
    kind: 'etcd',
    label: 'etcd://127.0.0.1:9',
    endpoints: ['http://127.0.0.1:9'],
    prefix: '/rollcall',
    tls: null,
    credentials: null,
  };

  it('a Node.js without SQLite is named, with the one that has it', async () => {
    const missing = Object.assign(new Error('No such built-in module: node:sqlite'), {
      code: 'ERR_UNKNOWN_BUILTIN_MODULE',
    });
    await assert.rejects(
      loadSqlite(() => Promise.reject(missing)),
      /^UsageError: this Node\.js has no SQLite.*; use Node\.js 22\.13 or later, or etcd$/,
    );
    await assert.rejects(
      loadSqlite(() => Promise.reject(new Error('out of memory'))),
      /^Error: out of memory$/,
    );
  });

  it('opens the embedded stores for use', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'rollcall-open-'));
    const path = join(directory, 'roll.db');
    for (const config of [
      { kind: 'sqlite', label: `sqlite:${path}`, path },
      { kind: 'memory', label: 'memory:open', name: 'open' },
    ] as const) {
      const store = await openStore(config, deps);
      assert.equal(store.label, config.label);
      const record = sampleRecord();
      const registration = {
        instanceId: record.ec2InstanceId,
        session: 'a',
        since: 'x',
        ttlMs: 1_000,
        retentionMs: 60_000,
      };
      assert.equal((await store.register(registration, record, { takeover: true, signal })).kind, 'registered');
      assert.equal((await store.read(signal)).entries.length, 1);
      await store.close();
    }
    await rm(directory, { recursive: true });
  });

  it('opens etcd without asking it anything, and without loading SQLite', async () => {
    const script = `
    const { openStore } = await import(${JSON.stringify(import.meta.resolve('../../src/store/open-store.ts'))});
    const { systemClock } = await import(${JSON.stringify(import.meta.resolve('../../src/lib/clock.ts'))});
    const loaded = () => process.moduleLoadList.includes('NativeModule sqlite');
    const deps = { clock: systemClock, random: Math.random, signal: new AbortController().signal, create: true };
    await (await openStore(${JSON.stringify(etcd)}, deps)).close();
    const before = loaded();
    await (await openStore({ kind: 'memory', label: 'memory:', name: '' }, deps)).close();
    console.log(before, loaded());
  `;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script]);
    assert.equal(stdout.trim(), 'false true');
  });

  it('asks etcd for no TTL below one and a half election timeouts', () => {
    assert.equal(minimumTtlMs(etcd), 2_000);
    assert.equal(minimumTtlMs({ kind: 'memory', label: 'memory:', name: '' }), 1_000);
  });
});
