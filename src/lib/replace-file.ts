import type { Stats } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/**
 * Replaces a file atomically: a reader finds the old or the new content, also after a power cut. Only one process may
 * write it. The file keeps its mode. @param mode of a file that is new; default: what the umask leaves of 0644
 * @returns what `stat` says of the new file, also where something else has changed or deleted it since
 * @throws the system's error
 */
export async function replaceFile(path: string, text: string, mode?: number): Promise<Stats> {
  const folder = dirname(path);
  // A fixed name, because there is one writer. A file left by a crash is removed, and a link that another user put there
  // is not followed.
  const next = join(folder, `.${basename(path)}.next`);
  await rm(next, { force: true });
  const modeToSet = (await modeOf(path)) ?? mode;
  const file = await open(next, 'wx', modeToSet ?? 0o644);
  let written: Stats;
  try {
    try {
      if (modeToSet !== undefined) await file.chmod(modeToSet);
      await file.writeFile(text);
      await file.sync();
      written = await file.stat();
    } finally {
      await file.close();
    }
    await rename(next, path);
  } catch (error) {
    // On a full disk it would take the last room. Why it could not be replaced is what the caller has to know.
    await rm(next, { force: true }).catch(() => {});
    throw error;
  }
  const entries = await open(folder, 'r');
  try {
    await entries.sync(); // so that the rename survives a power cut
  } finally {
    await entries.close();
  }
  return written;
}

async function modeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mode & 0o777;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
