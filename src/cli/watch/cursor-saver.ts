import type { Clock } from '../../lib/clock.ts';
import { withDeadline } from '../../lib/deadline.ts';
import { describeError } from '../../lib/errors.ts';

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
