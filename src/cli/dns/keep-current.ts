import { isLogged } from '../../config/flags.ts';
import { type MassLossFlags, massLossLimits } from '../../config/mass-loss-flags.ts';
import { formatDuration } from '../../lib/duration.ts';
import { describeError, RollcallError } from '../../lib/errors.ts';
import type { Roll } from '../../record/roll.ts';
import type { CliContext, ReadFlags } from '../context.ts';
import { type FollowedRoll, rollChanges } from '../follow-roll.ts';
import { massLossNote } from '../mass-loss-note.ts';
import type { DnsFile } from './dns-file.ts';
import type { DnsNames } from './dns-names.ts';

/** Changes that come faster are written together. */
const PAUSE_MS = 1_000;
const WRITE_AGAIN_MS = 10_000;
/** How long names are kept when many nodes are lost at the start already: running agents are back within a TTL. */
const LOST_AT_START_MS = 31_000;

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
  /** Until then a file with names is not replaced; set at the first roll. */
  let keepUntilMs: number | null = file.hadNames ? null : 0;

  /** @returns in how many ms to try again; null: at the next change */
  const write = async (): Promise<number | null> => {
    if (latest === null) return null;
    const entries = latest.entries();
    const nowMs = clock.monotonicMs();
    keepUntilMs ??= massLossNote(entries, limits, true) === null ? 0 : nowMs + LOST_AT_START_MS;
    if (nowMs < keepUntilMs) {
      const lost = massLossNote(entries, limits, true)?.replace(/^note: /, '') ?? null;
      if (lost !== null) {
        warn('lost', `warning: ${stays} for ${formatDuration(LOST_AT_START_MS)}: ${lost}`);
        return keepUntilMs - nowMs;
      }
      keepUntilMs = 0;
    }
    const { names, notes } = namesOf({ entries });
    for (const [n, note] of notes.entries()) warn(`note ${n}`, note);
    for (let n = notes.length; n < 8; n += 1) warn(`note ${n}`, null);
    try {
      const outcome = await file.update(names);
      warn('names', outcome === 'kept' ? `warning: ${stays}: no node matches any more` : null);
      warn('write', null);
      return null;
    } catch (error) {
      warn('write', `warning: ${describeError(error)}; trying again`);
      return WRITE_AGAIN_MS;
    }
  };
  const writeSoon = createPacedWriter({ clock, signal }, write);

  const onRetry = (error: Error) => warn('source', `warning: ${stays}: ${describeError(error)}; trying again`);
  const onStale = (stale: boolean) =>
    warn('stale', stale ? `warning: ${stays}: the store does not answer; trying again` : null);
  for await (const roll of rollChanges(context, flags, { signal, onRetry, onStale, massLoss: limits })) {
    warn('source', null);
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

/** Runs `write` soon after it was asked for, once for all that ask in a pause, and again when it says so. */
function createPacedWriter(
  { clock, signal }: Pick<CliContext, 'clock' | 'signal'>,
  write: () => Promise<number | null>,
): () => void {
  let isAsked = false;
  let isRunning = false;
  const run = async () => {
    while (isAsked) {
      isAsked = false;
      const againMs = await write();
      if (againMs !== null) isAsked = true;
      await clock.sleep(Math.max(PAUSE_MS, againMs ?? 0), signal);
    }
    isRunning = false;
  };
  return () => {
    isAsked = true;
    if (isRunning) return;
    isRunning = true;
    run().catch(() => {}); // only the end of the command
  };
}
