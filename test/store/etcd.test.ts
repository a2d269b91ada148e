import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { openEtcdKv } from '../../src/store/etcd/kv.ts';
import type { Kv } from '../../src/store/kv.ts';
import type { EtcdStoreConfig } from '../../src/store/store-url.ts';
import { minimumTtlMs } from '../../src/store/store-url.ts';
import { type EtcdServer, startEtcd } from '../support/etcd-server.ts';
import { type Backend, describeStoreContract } from './store-contract.ts';

let server: EtcdServer;
let backends = 0;

before(async () => {
  server = await startEtcd();
});
after(() => server.dispose());

describeStoreContract('etcd', async (): Promise<Backend> => {
  const opened: Kv[] = [];
  backends += 1;
  const config: EtcdStoreConfig = {
    kind: 'etcd',
    label: `etcd://loopback/contract-${backends}`,
    endpoints: server.endpoints,
    prefix: `/contract-${backends}`,
    tls: null,
    credentials: null,
  };
  return {
    ttlMs: minimumTtlMs(config),
    open: async () => {
      const kv = openEtcdKv(config, { clock: systemClock, random: Math.random });
      opened.push(kv);
      return kv;
    },
    pass: (ms) => systemClock.sleep(ms, new AbortController().signal),
    compact: async () => {
      const newest = JSON.parse(await server.etcdctl('get', 'none', '-w', 'json')) as { header: { revision: number } };
      const answer = await server.etcdctl('compact', String(newest.header.revision));
      assert.match(answer, /compacted revision/);
    },
    dispose: async () => {
      await Promise.all(opened.map((kv) => kv.close()));
      // Leases that run out with keys would move the revision under the tests that follow.
      await server.etcdctl('del', '--prefix', config.prefix);
    },
  };
});
