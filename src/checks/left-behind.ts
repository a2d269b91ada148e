import { readFileSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';

/**
 * Finds processes that a command left behind although its process group was killed: those that left the group, as with
 * `setsid`. Two marks, which a process hands on to those that it starts, tell whose they are: a variable in the command's
 * environment, and where that was cleared (`env -i`) the process's coredump filter. One that calls `exec` just then is
 * found the next time. Linux only: elsewhere none is found.
 */

/** Set in the environment of each run of a check. */
export const RUN_MARK = 'ROLLCALL_CHECK_RUN';

/** What the processes of one check's runs have in common. */
interface CheckMark {
  /** The value of `RUN_MARK`. */
  readonly variable: string;
  /** The coredump filter; null: this system has none that can be set. */
  readonly coreFilter: number | null;
}

/** The processes with this mark, by process id. */
export type FindLeftBehind = (mark: CheckMark) => Promise<readonly number[]>;

/** Calls `start`, which starts a process, so that the process has this coredump filter; the caller keeps its own. */
type StartMarked = <T>(start: () => T) => T;

/** Huge pages and DAX, core(5): a core dump without or with them is as useful, and no command sets them. */
const FIRST_FREE_BIT = 5;
const FREE_VALUES = 2 ** 4;

/**
 * A coredump filter for the processes of one check. Up to 15 checks have one each; of more, some share one.
 * @param ordinal of the check @param proc where procfs is mounted
 */
export function chooseCoreFilter(
  ordinal: number,
  proc = '/proc',
): { readonly coreFilter: number | null; readonly startMarked: StartMarked } {
  const path = `${proc}/self/coredump_filter`;
  const write = (filter: number) => writeFileSync(path, `0x${filter.toString(16)}`);
  try {
    const own = Number.parseInt(readFileSync(path, 'latin1'), 16);
    const coreFilter = own ^ ((1 + (ordinal % (FREE_VALUES - 1))) << FIRST_FREE_BIT);
    write(own); // whether it can be set
    const startMarked: StartMarked = (start) => {
      write(coreFilter);
      try {
        return start();
      } finally {
        write(own);
      }
    };
    return { coreFilter, startMarked };
  } catch {
    return { coreFilter: null, startMarked: (start) => start() };
  }
}

interface Seen {
  readonly variable: string | null;
  readonly coreFilter: number | null;
  readonly settled: boolean;
}

/** @param proc where procfs is mounted */
export function createLeftBehindFinder(proc = '/proc'): FindLeftBehind {
  /**
   * The processes that were there at the last look. A process keeps its marks for life, but one that is just being started
   * still has its parent's environment: what has no variable is `settled` after a second look.
   */
  let known = new Map<number, Seen>();
  let looking: Promise<void> | null = null;
  const own = statOf(proc, 'self');

  const look = async () => {
    const names = await readdir(proc).catch(() => []);
    const ids = names.filter((name) => /^\d+$/.test(name)).map(Number);
    const now: typeof known = new Map();
    for (const id of ids) {
      const before = known.get(id);
      if (before?.settled) now.set(id, before);
      else {
        const [variable, coreFilter] = await Promise.all([
          variableOf(`${proc}/${id}/environ`),
          coreFilterOf(`${proc}/${id}/coredump_filter`),
        ]);
        now.set(id, { variable, coreFilter, settled: before !== undefined || variable !== null });
      }
    }
    known = now;
  };

  /** Whether it runs: one that has ended, and that nothing has reaped, keeps its marks and holds nothing but its id. */
  const isRunning = ({ state }: Stat) => state !== '' && !'ZX'.includes(state);
  const isYounger = async (other: Stat) => {
    const self = await own;
    return other.pid !== self.pid && other.startTicks >= self.startTicks;
  };

  return async (mark) => {
    // One look at a time: a process in the kernel can keep a read of its environment waiting.
    looking ??= look().finally(() => {
      looking = null;
    });
    await looking;
    const found: number[] = [];
    for (const [id, { variable, coreFilter }] of known) {
      // Of a process without a variable, one that is older than this one has its filter from elsewhere.
      const isFiltered = variable === null && coreFilter !== null && coreFilter === mark.coreFilter;
      if (variable !== mark.variable && !isFiltered) continue;
      const stat = await statOf(proc, id);
      if (isRunning(stat) && (!isFiltered || (await isYounger(stat)))) found.push(id);
    }
    return found;
  };
}

async function variableOf(path: string): Promise<string | null> {
  const text = await readOrNull(path);
  const entry = text?.split('\0').find((each) => each.startsWith(`${RUN_MARK}=`));
  return entry?.slice(RUN_MARK.length + 1) ?? null;
}

async function coreFilterOf(path: string): Promise<number | null> {
  const filter = Number.parseInt((await readOrNull(path)) ?? '', 16);
  return Number.isNaN(filter) ? null : filter;
}

interface Stat {
  readonly pid: number;
  /** One letter, proc_pid_stat(5); empty: it is gone. */
  readonly state: string;
  /** When it began, in ticks since the boot; NaN: it is gone. */
  readonly startTicks: number;
}

async function statOf(proc: string, id: number | 'self'): Promise<Stat> {
  const text = (await readOrNull(`${proc}/${id}/stat`)) ?? '';
  // The second field, a name in brackets, may hold brackets and blanks.
  const rest = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { pid: Number.parseInt(text, 10), state: rest[0] ?? '', startTicks: Number(rest[19] ?? Number.NaN) };
}

/** null: it has ended, or belongs to another user. */
async function readOrNull(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'latin1');
  } catch {
    return null;
  }
}
