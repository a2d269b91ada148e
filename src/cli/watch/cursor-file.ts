import { accessSync, constants, readFileSync, realpathSync, statSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { describeError, RollcallError, UsageError } from '../../errors.ts';
import { lockFile } from './lock-file.ts';
import { encodeCursor, parseCursor, type SavedCursor } from './parse-cursor.ts';

/** A cursor file that is this process's alone until it is released. */
export interface CursorFile {
  readonly path: string;
  /** What it said at the start; null: there was none. */
  readonly saved: SavedCursor | null;
  /** Replaces it as a whole: whoever reads it, also after a power cut, finds the old one or the new one. */
  write(cursor: SavedCursor): Promise<void>;
  release(): void;
}

/** Longer ones are no cursor: not worth reading. */
const MAX_BYTES = 4_096;

/**
 * Reads the cursor file, where there is one, and makes sure that it can be replaced. It is left as it is.
 * @throws UsageError for a file that is no cursor or a folder that cannot be written to; RollcallError when another
 * process uses it
 */
export async function openCursorFile(given: string): Promise<CursorFile> {
  const path = requireReplaceable(given);
  // Before it is read: the other one may be about to replace it.
  const release = await lockFile(`${path}.lock`).catch((error) => {
    if (error instanceof RollcallError) throw new RollcallError(`cursor file ${given}: ${error.message}`);
    throw notReplaceable(given, error);
  });
  try {
    return { path: given, saved: read(path, given), write: (cursor) => replace(path, encodeCursor(cursor)), release };
  } catch (error) {
    release();
    throw error;
  }
}

/** What a user reads about a file that cannot be used; it is never changed. */
export function cursorRefusal(path: string, cause: string): UsageError {
  return new UsageError(`cursor file ${path}: ${cause}; remove the file to begin with a snapshot, or name another`);
}

/** The file itself when the path is a link, which would otherwise be replaced by the file. */
function requireReplaceable(given: string): string {
  try {
    const stats = statSync(given, { throwIfNoEntry: false });
    // Replacing a device such as /dev/null would break the machine.
    if (stats && !stats.isFile()) throw new Error('it is not a file');
    const path = stats ? realpathSync(given) : given;
    if (stats) accessSync(path, constants.R_OK);
    accessSync(dirname(path), constants.W_OK);
    return path;
  } catch (error) {
    throw notReplaceable(given, error);
  }
}

function notReplaceable(given: string, cause: unknown): UsageError {
  return new UsageError(
    `cursor file ${given}: ${describeError(cause)}; name a file in a folder that exists and may be written to`,
  );
}

function read(path: string, given: string): SavedCursor | null {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) return null;
  if (stats.size > MAX_BYTES) throw cursorRefusal(given, `it has ${stats.size} bytes, and no cursor has ${MAX_BYTES}`);
  const cursor = parseCursor(readFileSync(path, 'utf8'));
  if ('refusal' in cursor) throw cursorRefusal(given, cursor.refusal);
  return cursor;
}

async function replace(path: string, text: string): Promise<void> {
  const folder = dirname(path);
  // One name, since the lock leaves one writer: what a crash left behind is overwritten, not collected.
  const next = join(folder, `.${basename(path)}.next`);
  const file = await open(next, 'w', 0o644);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(next, path);
  const entries = await open(folder, 'r');
  try {
    await entries.sync(); // the name too has to survive a power cut
  } finally {
    await entries.close();
  }
}
