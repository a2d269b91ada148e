import { accessSync, constants, readFileSync, realpathSync, statSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import { describeError, RollcallError, UsageError } from '../../lib/errors.ts';
import { parseRevision } from '../../registry/event-source.ts';

/** SQLite's primary result code for a database that another connection has locked. */
const SQLITE_BUSY = 5;

/**
 * Takes the lock of an empty file that is made for it and stays. The kernel gives the lock back however the process
 * ends, and unlike a pid in a file it holds between containers too. Node has no call for such locks, but its SQLite
 * takes one on any database, and an empty file is one.
 * @returns the way to give it back
 * @throws RollcallError when another process has it; the driver's error when the file cannot be made
 */
export async function lockFile(path: string): Promise<() => void> {
  const { DatabaseSync } = await import('node:sqlite');
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    // A journal in memory: no second file appears beside it.
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error;
    throw new RollcallError(`another rollcall watch holds ${path}; give each watch a cursor file of its own`);
  }
  return () => database.close();
}

/** Up to where a consumer has finished, and in which store. */
export interface SavedCursor {
  /** What `Store.id` says: revisions of two stores cannot be compared. */
  readonly store: string;
  /** null: it was in a snapshot that took the place of what was finished before, and begins with one again. */
  readonly revision: string | null;
}

const VERSION = 1;

export function encodeCursor({ store, revision }: SavedCursor): string {
  return `${JSON.stringify({ version: VERSION, store, revision })}\n`;
}

/** What a cursor file says, or why it cannot be used: a part of a sentence, with the value. */
export function parseCursor(text: string): SavedCursor | { readonly refusal: string } {
  if (text.trim() === '') return { refusal: 'it is empty' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { refusal: `it is not JSON, or cut short: ${quote(text)}` };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { refusal: `it holds no cursor: ${quote(text)}` };
  }
  const { version, store, revision } = value as Readonly<Record<string, unknown>>;
  if (version !== VERSION) return { refusal: `its version is ${quote(version)}, and this rollcall reads ${VERSION}` };
  if (typeof store !== 'string' || store === '') return { refusal: `its store is ${quote(store)}, which names none` };
  const parsed = typeof revision === 'string' ? parseRevision(revision) : revision === null ? null : undefined;
  if (parsed === undefined) {
    return { refusal: `its revision is ${quote(revision)}, not a whole number from 0 to 9223372036854775807 as text` };
  }
  return { store, revision: parsed };
}

function quote(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'missing');
  return value === undefined ? text : JSON.stringify(text.slice(0, 80));
}

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

export interface CursorSaver {
  /**
   * All up to `revision` is finished; null: there is nothing to go on from. Never waits: events do not wait for a disk,
   * and a cursor that is a little behind only repeats. A cursor that moves while one is being written is written next,
   * those between are not.
   * @param eager written at once, as null is; otherwise (nothing but the cursor moved) at most once a second
   */
  advance(revision: string | null, eager: boolean): void;
  /** Writes what is not written yet. Settles within 2 s. */
  close(): Promise<void>;
}

export interface CursorSaverOptions {
  readonly write: (revision: string | null) => Promise<void>;
  readonly clock: Clock;
  /** One line when saving begins to fail, and one when it works again. */
  readonly tell: (line: string) => void;
}

const LAZY_INTERVAL_MS = 1_000;
const CLOSE_LIMIT_MS = 2_000;

export function createCursorSaver({ write, clock, tell }: CursorSaverOptions): CursorSaver {
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
      if (failing) tell('note: the cursor can be saved again');
      failing = false;
    } catch (error) {
      if (!failing) tell(`warning: cannot save the cursor: ${describeError(error)}; a restart would repeat events`);
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
      }).catch((error) => tell(`warning: ${describeError(error)}; a restart repeats events`));
    },
  };
}
