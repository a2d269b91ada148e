import { execFile } from 'node:child_process';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { promisify } from 'node:util';

/** What the figures were measured on. */
export interface Machine {
  readonly cores: number;
  readonly processor: string;
  readonly memoryGb: number;
  /** Of the last minute, before the benchmarks began. */
  readonly load: number;
  readonly node: string;
  readonly etcd: string;
}

export async function describeMachine(): Promise<Machine> {
  const etcd = await promisify(execFile)('etcd', ['--version']);
  return {
    cores: availableParallelism(),
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGb: totalmem() / 1e9,
    load: loadavg()[0] ?? 0,
    node: process.versions.node,
    etcd: /etcd Version: (\S+)/.exec(etcd.stdout)?.[1] ?? 'unknown',
  };
}
