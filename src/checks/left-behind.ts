import { readdir, readFile } from 'node:fs/promises';

/**
 * Finds processes that a command left behind although its process group was killed: those that left the group, as with
 * `setsid`. They have the command's environment still, so a variable in it marks them; one that calls `exec` just then is
 * found the next time. Linux only: elsewhere none is found.
 */

/** Set in the environment of each run of a check. */
export const RUN_MARK = 'ROLLCALL_CHECK_RUN';

/** The processes with this value of `RUN_MARK`, by process id. */
export type FindLeftBehind = (mark: string) => Promise<readonly number[]>;

/** @param proc where procfs is mounted */
export function createLeftBehindFinder(proc = '/proc'): FindLeftBehind {
  /**
   * The processes that were there at the last look. `mark` null: it has none. A process keeps its mark for life, but one
   * that is just being started still has its parent's environment: what has no mark is `settled` after a second look.
   */
  let known = new Map<number, { readonly mark: string | null; readonly settled: boolean }>();
  let looking: Promise<void> | null = null;

  const look = async () => {
    const names = await readdir(proc).catch(() => []);
    const ids = names.filter((name) => /^\d+$/.test(name)).map(Number);
    const now: typeof known = new Map();
    for (const id of ids) {
      const before = known.get(id);
      const mark = before?.settled ? before.mark : await markOf(`${proc}/${id}/environ`);
      now.set(id, { mark, settled: before !== undefined || mark !== null });
    }
    known = now;
  };

  return async (mark) => {
    // One look at a time: a process in the kernel can keep a read of its environment waiting.
    looking ??= look().finally(() => {
      looking = null;
    });
    await looking;
    return [...known].flatMap(([id, each]) => (each.mark === mark ? [id] : []));
  };
}

async function markOf(path: string): Promise<string | null> {
  try {
    const text = await readFile(path, 'latin1');
    const entry = text.split('\0').find((each) => each.startsWith(`${RUN_MARK}=`));
    return entry?.slice(RUN_MARK.length + 1) ?? null;
  } catch {
    return null; // it has ended, or belongs to another user
  }
}
