import { accessSync, constants, readFileSync, realpathSync, statSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import { describeError, quote, RollcallError, UsageError } from '../../lib/errors.ts';
import { parseRevision } from '../../registry/event-source.ts';

/** SQLite's primary result code for a database that another connection has locked. */
const SQLITE_BUSY = 5;

/**
 * Locks an empty file, which is created and kept. The kernel releases the lock however the process ends; unlike a pid in a
 * file, the lock also works between containers. Node has no API for file locks, but its SQLite locks any database, and an
 * empty file is a valid one.
 * @returns a function that releases the lock
 * @throws RollcallError if another process holds the lock; the driver's error if the file cannot be created
 */
async function lockFile(path: string): Promise<() => void> {
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    // A journal in memory, so that SQLite creates no second file.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    throw new RollcallError(`another rollcall watch holds ${path}; use a separate cursor file for each watch`);
  }
  return () => database.close();
}

/** The position of a consumer: the store and the last finished revision. */
export interface SavedCursor {
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

async function replace(path: string, text: string): Promise<void> {
  const folder = dirname(path);
  // A fixed name, because the lock allows one writer. A file left by a crash is overwritten.
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
    await entries.sync(); // so that the rename survives a power cut
  } finally {
    await entries.close();
  }
}

export interface CursorSaver {
  /**
   * All events up to `revision` are finished; null: the next watch must start with a snapshot. Does not wait for the disk;
   * if the saved cursor is a little behind, the next watch repeats some events. While one write is in progress only the
   * newest cursor is kept for the next write.
   * @param eager true: write at once, as null is; false (no event was delivered): write at most once a second
   */
  advance(revision: string | null, eager: boolean): void;
  /** Writes the newest cursor if it is not written yet. Settles within 2 s. */
  close(): Promise<void>;
}

interface CursorSaverOptions {
  readonly write: (revision: string | null) => Promise<void>;
  readonly clock: Clock;
  /** Writes one line when saving starts to fail, and one when it works again. */
  readonly warn: (line: string) => void;
}

const LAZY_INTERVAL_MS = 1_000;
const CLOSE_LIMIT_MS = 2_000;

export function createCursorSaver({ write, clock, warn }: CursorSaverOptions): CursorSaver {
  let wanted: string | null | undefined;
  let saved: string | null | undefined;
  let eagerly = false;
  let failing = false;
  let startedAtMs = Number.NEGATIVE_INFINITY;
  let writing: Promise<void> | null = null;

  async function save(revision: string | null): Promise<void> {
    try {
      await write(revision);
      saved = revision;
      if (failing) warn('note: the cursor can be saved again');
      failing = false;
    } catch (error) {
      if (!failing) warn(`warning: cannot save the cursor: ${describeError(error)}; a restart would repeat events`);
      failing = true;
    }
  }

  async function saveWanted(): Promise<void> {
    do {
      eagerly = false;
      startedAtMs = clock.monotonicMs();
      if (wanted !== undefined && wanted !== saved) await save(wanted);
    } while (eagerly);
    writing = null;
  }

  return {
    advance(revision, eager) {
      if (revision === wanted) return;
      wanted = revision;
      eagerly ||= eager || revision === null;
      if (writing) return;
      if (eagerly || clock.monotonicMs() - startedAtMs >= LAZY_INTERVAL_MS) writing = saveWanted();
    },

    async close() {
      const signal = new AbortController().signal;
      await withDeadline(clock, CLOSE_LIMIT_MS, signal, 'save the cursor', async () => {
        await writing;
        await saveWanted();
      }).catch((error) => warn(`warning: ${describeError(error)}; a restart repeats events`));
    },
  };
}
