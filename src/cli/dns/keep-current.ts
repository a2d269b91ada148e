import { isLogged } from '../../config/flags.ts';
import { type MassLossFlags, massLossLimits } from '../../config/mass-loss-flags.ts';
import { formatDuration } from '../../lib/duration.ts';
import { describeError, RollcallError } from '../../lib/errors.ts';
import type { Roll, RollEntry } from '../../record/roll.ts';
import { lostDataNote, massLossNote, returnSeconds } from '../../registry/mass-loss.ts';
import { type CliContext, createOnce, type ReadFlags, warn as warnOf } from '../context.ts';
import { describeFlaws, type Flaws, type FollowedRoll, rollChanges } from '../follow-roll.ts';
import type { DnsFile } from './dns-file.ts';
import type { DnsNames } from './dns-names.ts';

/** Changes that come faster are written together. */
const PAUSE_MS = 1_000;
const WRITE_AGAIN_MS = 10_000;
/** How often the file is looked at while no name changes: something else may have changed or deleted it. */
const LOOK_MS = 60_000;
/** Names that may have to stay are kept for a TTL, in which running agents are back, and this. */
const BEYOND_TTL_MS = 1_000;

type Named = { readonly names: DnsNames; readonly notes: readonly string[] };

/**
 * Writes the names after each change of the roll, at most once a second. Losses that may be the store's fault stay named
 * until they are certain. Without end.
 * @throws the reason of the context's signal, or an error that a retry cannot fix
 */
export async function keepCurrent(
  context: CliContext,
  flags: ReadFlags & MassLossFlags & { readonly file?: string },
  file: DnsFile,
  namesOf: (roll: Pick<Roll, 'entries'>) => Named,
): Promise<void> {
  const { clock, signal } = context;
  const limits = massLossLimits(flags);
  const warn = createTeller((line) => {
    if (isLogged(flags.logLevel, 'warn')) context.stderr(line);
  });
  const stays = `${flags.file} stays as it is`;
  let latest: FollowedRoll | null = null;
  /** Later mass losses are held by the events of the roll. */
  let isStarting = file.hadNames;
  /** While many nodes are gone that may be back: until when the file stays as it is. */
  let keepUntilMs: number | null = null;

  /** @returns for how many ms the file stays as it is; 0: it may be written */
  const stayMs = (entries: readonly RollEntry[]): number => {
    const nowMs = clock.monotonicMs();
    const note =
      (isStarting ? massLossNote(entries, limits, true) : null) ?? lostDataNote(file.instanceIds(), entries, limits);
    if (note === null) {
      keepUntilMs = null;
    } else if (keepUntilMs === null) {
      const holdMs = returnSeconds(entries) * 1_000 + BEYOND_TTL_MS;
      keepUntilMs = nowMs + holdMs;
      warn('lost', `warning: ${stays} for ${formatDuration(holdMs)}: ${note}`);
    }
    if (keepUntilMs !== null && nowMs < keepUntilMs) return keepUntilMs - nowMs;
    isStarting = false;
    return 0;
  };

  /** @returns in how many ms to do it again, if no change comes first */
  const write = async (): Promise<number> => {
    if (latest === null) return LOOK_MS;
    const entries = latest.entries();
    const waitMs = stayMs(entries);
    if (waitMs > 0) return waitMs;
    const { names, notes } = namesOf({ entries });
    for (const [n, note] of notes.entries()) warn(`note ${n}`, note);
    for (let n = notes.length; n < 8; n += 1) warn(`note ${n}`, null);
    const outcome = await file.update(names);
    warn('names', outcome === 'kept' ? `warning: ${stays}: no node matches any more` : null);
    warn('lost', null);
    // The next loss gets a wait of its own, also where this one could not empty the file.
    keepUntilMs = null;
    return LOOK_MS;
  };
  const writeSoon = createPacedWriter({ clock, signal }, async () => {
    try {
      const againMs = await write();
      warn('write', null);
      return againMs;
    } catch (error) {
      warn('write', `warning: ${describeError(error)}; trying again`);
      return WRITE_AGAIN_MS;
    }
  });

  const onRetry = (error: Error) => warn('source', `warning: ${stays}: ${describeError(error)}; trying again`);
  const warnOnce = createOnce((lines) => warnOf(context, flags, lines));
  const onFlaws = (flaws: Flaws) => warnOnce(describeFlaws(flaws));
  const onStale = (stale: boolean) => {
    // Before the first roll the stream itself says why there is none.
    warn('stale', stale && latest !== null ? `warning: ${stays}: the store does not answer; trying again` : null);
  };
  const onOpen = () => warn('source', null);
  const following = { signal, onRetry, onOpen, onStale, onFlaws, massLoss: limits, onlyCurrent: true };
  for await (const roll of rollChanges(context, flags, following)) {
    warn(
      'uncertain',
      roll.uncertain ? 'warning: many nodes vanished at once: their names stay until it is certain' : null,
    );
    latest = roll;
    writeSoon();
  }
  throw new RollcallError('the events of the roll ended');
}

/** Tells each line once, until its subject has another or none. */
function createTeller(tell: (line: string) => void): (subject: string, line: string | null) => void {
  const told = new Map<string, string | null>();
  return (subject, line) => {
    if ((told.get(subject) ?? null) === line) return;
    told.set(subject, line);
    if (line !== null) tell(line);
  };
}

/** Runs `write` soon after it was asked for, once for all that ask in a pause, and again after the time that it gives. */
function createPacedWriter(
  { clock, signal }: Pick<CliContext, 'clock' | 'signal'>,
  write: () => Promise<number>,
): () => void {
  let asked = new AbortController();
  const run = async () => {
    for (;;) {
      asked = new AbortController();
      const againMs = await write();
      await clock.sleep(PAUSE_MS, signal);
      await clock
        .sleep(againMs - PAUSE_MS, AbortSignal.any([signal, asked.signal]))
        .catch(() => signal.throwIfAborted());
    }
  };
  let isRunning = false;
  return () => {
    asked.abort();
    if (isRunning) return;
    isRunning = true;
    run().catch(() => {}); // `write` does not throw: only the end of the command
  };
}
