import { openEtcdKv } from '../../src/store/etcd/etcd-kv.ts';
import type { Kv } from '../../src/store/kv.ts';
import type { Backend } from '../store/contract-world.ts';
import { describeDrainSlotsContract } from '../store/drain-slots-contract.ts';
import { describeStoreContract } from '../store/store-contract.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { createCluster } from './etcd/cluster.ts';
import { createHost } from './host.ts';
import { createNetwork } from './network.ts';
import { createScheduler } from './scheduler.ts';

const none = { onCommit: () => {}, onLeader: () => {}, onRestored: () => {} };

/** The etcd of the simulation keeps the same promises as the real ones, under the same engine. */
const start = async (): Promise<Backend> => {
  const scheduler = createScheduler();
  const random = seededRandom(1);
  const cluster = createCluster(3, scheduler, random, none);
  const network = createNetwork(scheduler, random, cluster);
  const opened: Kv[] = [];
  let untilMs = 0;
  let running = true;
  // The contract awaits calls without letting time pass: here time goes on by itself, as fast as the machine can.
  const run = async () => {
    while (running) await scheduler.run(scheduler.nowMs() + 10, () => {});
  };
  const ended = run();
  return {
    ttlMs: 2_000,
    open: async () => {
      const process = createHost('host', scheduler).start();
      const kv = openEtcdKv(
        {
          kind: 'etcd',
          label: 'etcd://simulated',
          endpoints: ['http://member-0', 'http://member-1', 'http://member-2'],
          prefix: '/contract',
          tls: null,
          credentials: null,
        },
        {
          clock: process.clock,
          random,
          openChannel: (url) => network.channel('host', process, Number(url.at(-1))),
        },
      );
      opened.push(kv);
      return kv;
    },
    pass: async (ms) => {
      untilMs = scheduler.nowMs() + ms;
      while (scheduler.nowMs() < untilMs) await new Promise((resolve) => setImmediate(resolve));
    },
    compact: async () => cluster.compact(),
    dispose: async () => {
      await Promise.all(opened.map((kv) => kv.close()));
      running = false;
      await ended;
    },
  };
};

describeStoreContract('the simulated etcd', start);
describeDrainSlotsContract('the simulated etcd', start);
