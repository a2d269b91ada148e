import assert from 'node:assert/strict';
import { after, before, describe } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { openEtcdKv } from '../../src/store/etcd/etcd-kv.ts';
import type { Kv } from '../../src/store/kv.ts';
import type { EtcdStoreConfig } from '../../src/store/store-url.ts';
import { minimumTtlMs } from '../../src/store/store-url.ts';
import { type EtcdServer, startEtcd, startEtcdProxy } from '../support/etcd-server.ts';
import { describeOnEtcds, type EtcdVersion } from '../support/etcd-versions.ts';
import type { Backend } from './contract-world.ts';
import { describeStoreContract } from './store-contract.ts';

let backends = 0;

/** @param proxied whether the store is reached through `etcd grpc-proxy` */
function describeContract(version: EtcdVersion, proxied: boolean): void {
  let server: EtcdServer;
  let proxy: Awaited<ReturnType<typeof startEtcdProxy>> | null = null;

  before(async () => {
    server = await startEtcd({ version });
    if (proxied) proxy = await startEtcdProxy(server.clientUrl);
  });
  after(async () => {
    await proxy?.dispose();
    await server.dispose();
  });

  describeStoreContract(`etcd ${version}`, async (): Promise<Backend> => {
    const opened: Kv[] = [];
    backends += 1;
    const config: EtcdStoreConfig = {
      kind: 'etcd',
      label: `etcd://loopback/contract-${backends}`,
      endpoints: proxy === null ? server.endpoints : [proxy.url],
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
        const newest = JSON.parse(await server.etcdctl('get', 'none', '-w', 'json')) as {
          header: { revision: number };
        };
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
}

describe('the store contract', { concurrency: true }, () => {
  describeOnEtcds('directly', (version) => describeContract(version, false));
  describeOnEtcds('behind etcd grpc-proxy', (version) => describeContract(version, true), ['3.5.16']);
});
