import { statfs } from 'node:fs/promises';
import type { Clock } from '../lib/clock.ts';
import type { HealthStatus } from '../record/record.ts';
import type { Observation } from './check.ts';
import { type DiskCheckConfig, lookWithin, type Probe } from './probe.ts';

/** What `statfs` tells of a file system, in its own units. */
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

/** Space and inodes of a file system: docker that cannot write is a node that cannot start a task. */
export function diskProbe(options: DiskProbeOptions): Probe {
  const { disk, intervalMs, timeoutMs, clock, read = statfs } = options;
  let reading: Promise<DiskUse> | null = null;
  // A file system that hangs keeps the thread that asked it, of the four the process has for files and names alike: a
  // second look waits for the first one's answer instead of taking another.
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
    look: (signal) =>
      lookWithin(clock, timeoutMs, signal, async () => {
        try {
          return judgeDisk(await readOnce(), disk);
        } catch (error) {
          return { status: 'critical', reason: `cannot look at ${disk.path}: ${readFailure(error)}` };
        }
      }),
  };
}

/** Pure. The reason names the limit and not the number: that would tick with every image pulled. */
export function judgeDisk(use: DiskUse, limits: DiskCheckConfig): Observation {
  // As df reckons: blocks that only root may fill are neither used nor free.
  const space = percentFree(use.bavail, use.blocks - use.bfree + use.bavail);
  // Some file systems (btrfs) have no fixed number of inodes and say 0.
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
  if (code === 'ENOENT') return 'there is no such path; in a container it must be mounted';
  return code ?? 'it cannot be read';
}
