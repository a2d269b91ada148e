import { accessSync, constants, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { describeError, quote, RollcallError, UsageError } from '../../lib/errors.ts';
import { lockFile } from '../../lib/lock-file.ts';
import { replaceFile } from '../../lib/replace-file.ts';
import { parseRevision } from '../../registry/event-source.ts';

/** The position of a consumer: the store and the last finished revision. */
interface SavedCursor {
  /** `Store.id`, because revisions of different stores cannot be compared. */
  readonly store: string;
  /** null: a snapshot was not finished; the next watch starts with a snapshot. */
  readonly revision: string | null;
}

const VERSION = 1;

export function encodeCursor({ store, revision }: SavedCursor): string {
  return `${JSON.stringify({ version: VERSION, store, revision })}\n`;
}

/** Parses a cursor file. `refusal`: why it cannot be used, with the value, as part of a sentence. */
export function parseCursor(text: string): SavedCursor | { readonly refusal: string } {
  if (text.trim() === '') return { refusal: 'it is empty' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { refusal: `it is not JSON, or truncated: ${quote(text)}` };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { refusal: `it has no cursor: ${quote(text)}` };
  }
  const { version, store, revision } = value as Readonly<Record<string, unknown>>;
  if (version !== VERSION)
    return { refusal: `its version is ${quote(version)}, but this rollcall reads version ${VERSION}` };
  if (typeof store !== 'string' || store === '') return { refusal: `its store is ${quote(store)}, not a store id` };
  const parsed = typeof revision === 'string' ? parseRevision(revision) : revision === null ? null : undefined;
  if (parsed === undefined) {
    return { refusal: `its revision is ${quote(revision)}, not a whole number from 0 to 9223372036854775807 as text` };
  }
  return { store, revision: parsed };
}

/** A cursor file, locked by this process until `release`. */
export interface CursorFile {
  readonly path: string;
  /** The content at the start; null: there was no file. */
  readonly saved: SavedCursor | null;
  /** Replaces the file atomically: a reader finds the old or the new content, also after a power cut. */
  write(cursor: SavedCursor): Promise<void>;
  release(): void;
}

/** A longer file is not a cursor and is not read. */
const MAX_BYTES = 4_096;

/**
 * Locks and reads the cursor file, if it exists, and checks that it can be replaced. The file is not changed.
 * @throws UsageError if the file is not a cursor or its folder is not writable; RollcallError if another process holds
 * the lock
 */
export async function openCursorFile(given: string): Promise<CursorFile> {
  const path = replaceablePath(given);
  // Lock before reading, because the other process may be about to replace the file.
  const lockPath = `${path}.lock`;
  const release = await lockFile(lockPath).catch((error) => {
    throw notReplaceable(given, error);
  });
  if (release === null) {
    throw new RollcallError(
      `cursor file ${given}: another rollcall watch holds ${lockPath}; use a separate cursor file for each watch`,
    );
  }
  try {
    return {
      path: given,
      saved: read(path, given),
      async write(cursor) {
        await replaceFile(path, encodeCursor(cursor));
      },
      release,
    };
  } catch (error) {
    release();
    throw error;
  }
}

/** The error for a cursor file that cannot be used. The file is never changed. */
export function cursorRefusal(path: string, cause: string): UsageError {
  return new UsageError(`cursor file ${path}: ${cause}; remove the file to start with a snapshot, or use another file`);
}

/** The path of the file to replace. A symbolic link is resolved, so that the link itself is not replaced. */
function replaceablePath(given: string): string {
  try {
    const stats = statSync(given, { throwIfNoEntry: false });
    // Replacing a device such as /dev/null would damage the machine.
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
  return new UsageError(`cursor file ${given}: ${describeError(cause)}; use a file in an existing, writable folder`);
}

function read(path: string, given: string): SavedCursor | null {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats) return null;
  if (stats.size > MAX_BYTES)
    throw cursorRefusal(given, `it has ${stats.size} bytes, but a cursor has at most ${MAX_BYTES}`);
  const cursor = parseCursor(readFileSync(path, 'utf8'));
  if ('refusal' in cursor) throw cursorRefusal(given, cursor.refusal);
  return cursor;
}

/**
 * The revision after which to continue. @param label of the store or agent that is watched
 * @throws UsageError for a cursor of another store
 */
export function resumeAt({ path }: CursorFile, saved: SavedCursor, storeId: string, label: string): string | null {
  if (saved.store === storeId) return saved.revision;
  throw cursorRefusal(path, `it belongs to the store ${saved.store}, but ${label} is the store ${storeId}`);
}
