import { statfs } from 'node:fs/promises';
import type { Clock } from '../lib/clock.ts';
import type { HealthStatus } from '../record/record.ts';
import type { Observation } from './check.ts';
import { type DiskCheckConfig, type Probe, runWithin } from './probe.ts';

/** The fields of `statfs` that are used; `blocks`, `bfree` and `bavail` in blocks, `files` and `ffree` in inodes. */
export interface DiskUse {
  readonly blocks: number;
  readonly bfree: number;
  readonly bavail: number;
  readonly files: number;
  readonly ffree: number;
}

interface DiskProbeOptions {
  readonly disk: DiskCheckConfig;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly read?: (path: string) => Promise<DiskUse>;
}

/** Checks free space and free inodes of a file system: if docker cannot write, the node cannot start tasks. */
export function diskProbe(options: DiskProbeOptions): Probe {
  const { disk, intervalMs, timeoutMs, clock, read = statfs } = options;
  let reading: Promise<DiskUse> | null = null;
  // A file system that hangs blocks one of Node's four threads for files and DNS. So there is one read at a time: the
  // next run waits for the answer to the first.
  const readOnce = () => {
    reading ??= read(disk.path).finally(() => {
      reading = null;
    });
    return reading;
  };
  return {
    name: 'disk',
    intervalMs,
    timeoutMs,
    run: (signal) =>
      runWithin(clock, timeoutMs, signal, async () => {
        try {
          return judgeDisk(await readOnce(), disk);
        } catch (error) {
          return { status: 'critical', reason: `cannot read ${disk.path}: ${readFailure(error)}` };
        }
      }),
  };
}

/** Pure. The reason names the limit and not the free space, which changes with every image pulled. */
export function judgeDisk(use: DiskUse, limits: DiskCheckConfig): Observation {
  // As in df: blocks reserved for root count neither as used nor as free.
  const space = percentFree(use.bavail, use.blocks - use.bfree + use.bavail);
  // Some file systems (btrfs) have no fixed number of inodes and report 0.
  const inodes = percentFree(use.ffree, use.files);
  const levels: readonly [HealthStatus, number][] = [
    ['critical', limits.criticalPercent],
    ['warning', limits.warningPercent],
  ];
  for (const [status, percent] of levels) {
    if (space < percent) return { status, reason: `less than ${percent}% free on ${limits.path}` };
    if (inodes < percent) return { status, reason: `less than ${percent}% of the inodes free on ${limits.path}` };
  }
  return { status: 'passing', reason: '' };
}

function percentFree(free: number, total: number): number {
  return total > 0 ? (100 * free) / total : 100;
}

function readFailure(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'no such path; in a container, mount it';
  return code ?? 'it cannot be read';
}
