import type { Kv } from '../../src/store/kv.ts';
import { openMemoryKv } from '../../src/store/sqlite/sqlite-kv.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import { describeDrainSlotsContract } from './drain-slots-contract.ts';
import { startSqlite } from './sqlite-backend.ts';

describeDrainSlotsContract('memory:', async () => {
  const clock = simulatedClock();
  const opened: Kv[] = [];
  return {
    open: async () => {
      const config = { kind: 'memory', label: 'memory:slots', name: 'slots' } as const;
      const kv = await openMemoryKv(config, { clock, random: Math.random, bootId: 'boot-1' });
      opened.push(kv);
      return kv;
    },
    dispose: async () => {
      await Promise.all(opened.map((kv) => kv.close()));
    },
  };
});

describeDrainSlotsContract('sqlite:', async () => {
  const backend = await startSqlite();
  return { open: () => backend.open(), dispose: () => backend.dispose() };
});
