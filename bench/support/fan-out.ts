import { until } from '../../test/support/machine-time.ts';
import type { BenchContext } from '../benchmark.ts';
import { type BenchEtcd, registerNodes } from './fleet.ts';
import { cpuMs } from './process-load.ts';

const WATCHES = 20;
const REGISTRATIONS = 200;
const LIMIT_MS = 60_000;

/** etcd's processor time for telling one change of a node to one watch of the whole roll, in ms. */
export async function fanOutMs(context: BenchContext, etcd: BenchEtcd): Promise<number> {
  const without = await registrationsMs(context, etcd, '/fan-out-0', 0);
  const withWatches = await registrationsMs(context, etcd, '/fan-out-1', WATCHES);
  return Math.max(0, withWatches - without) / (WATCHES * REGISTRATIONS);
}

/** etcd's processor time for some registrations, until so many watches of the roll have got all of them. */
async function registrationsMs(
  context: BenchContext,
  etcd: BenchEtcd,
  prefix: string,
  watches: number,
): Promise<number> {
  const ended = new AbortController();
  const writer = await etcd.open(prefix);
  const { revision } = await writer.read(context.signal);
  const told = Array.from({ length: watches }, () => 0);
  const follow = async (index: number) => {
    const store = await etcd.open(prefix);
    for await (const { changes } of store.watch(revision, ended.signal)) {
      told[index] = (told[index] ?? 0) + changes.filter(({ kind }) => kind === 'presence').length;
    }
  };
  for (const index of told.keys()) follow(index).catch(() => {}); // ended
  const before = await cpuMs(etcd.server.pid);
  await registerNodes(context, writer, REGISTRATIONS);
  const { signal } = context;
  await until('all have the events', LIMIT_MS, () => told.every((count) => count >= REGISTRATIONS), {
    everyMs: 50,
    signal,
  });
  const spentMs = (await cpuMs(etcd.server.pid)) - before;
  ended.abort();
  return spentMs;
}
