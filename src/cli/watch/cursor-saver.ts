import { describeError } from '../../errors.ts';
import type { Clock } from '../../timing/clock.ts';
import { withDeadline } from '../../timing/with-deadline.ts';

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
