import { after, before } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { openEtcdKv } from '../../src/store/etcd/etcd-kv.ts';
import type { Kv } from '../../src/store/kv.ts';
import type { EtcdStoreConfig } from '../../src/store/store-url.ts';
import { type EtcdServer, startEtcd } from '../support/etcd-server.ts';
import { describeDrainSlotsContract } from './drain-slots-contract.ts';

let server: EtcdServer;
let backends = 0;

before(async () => {
  server = await startEtcd();
});
after(() => server.dispose());

describeDrainSlotsContract('etcd', async () => {
  const opened: Kv[] = [];
  backends += 1;
  const prefix = `/slots-${backends}`;
  const { endpoints } = server;
  const config: EtcdStoreConfig = { kind: 'etcd', label: 'etcd', endpoints, prefix, tls: null, credentials: null };
  return {
    open: async () => {
      const kv = openEtcdKv(config, { clock: systemClock, random: Math.random });
      opened.push(kv);
      return kv;
    },
    dispose: async () => {
      await Promise.all(opened.map((kv) => kv.close()));
    },
  };
});
