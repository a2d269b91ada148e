import { isLogged } from '../config/flags.ts';
import type { MassLossFlags } from '../config/mass-loss-flags.ts';
import { onAbort } from '../lib/abort.ts';
import { describeError } from '../lib/errors.ts';
import type { Roll, SkippedKey } from '../record/roll.ts';
import type { CliContext, ReadFlags } from './context.ts';
import { describeFlaws, type Flaws, type FollowedRoll, rollChanges } from './follow-roll.ts';

/** Changes that come faster are drawn together. */
const REDRAW_MS = 1_000;

/** What one picture of the roll is. */
export interface Picture {
  readonly text: string;
  /** Lines for people, below the text. */
  readonly notes: readonly string[];
}

/**
 * Draws the roll, and again after each change, at most once a second; on a terminal in the same place, cut to its height,
 * else one after the other. Without end.
 * @throws the reason of the context's signal, or an error that a retry cannot fix
 */
export async function watchList(
  context: CliContext,
  flags: ReadFlags & MassLossFlags,
  picture: (roll: Roll) => Picture,
): Promise<void> {
  const { clock, signal, terminal } = context;
  let trouble: string | null = null;
  let isStale = false;
  let skipped: readonly SkippedKey[] = [];
  let flaws: readonly string[] = [];
  let last: FollowedRoll | null = null;

  const draw = async () => {
    if (last === null && trouble === null) return;
    const { text, notes } =
      last === null ? { text: '', notes: [] } : picture({ ...last, entries: last.entries(), skipped });
    const cause = trouble ?? (isStale ? 'the store does not answer' : null);
    const below = [...flaws, ...notes, ...(cause === null ? [] : [`not current: ${cause}; trying again`])];
    if (terminal === undefined) {
      await context.stdout(`${text}\n`);
      for (const line of below) context.stderr(line);
      return;
    }
    const lines = text.split('\n').slice(0, -1);
    const room = Math.max(1, terminal.rows() - below.length - 2);
    const more = lines.length - room;
    const shown = more > 0 ? [...lines.slice(0, room), `… ${more} more`] : lines;
    const cut = [...shown, ...below].map((line) => line.slice(0, terminal.columns()));
    await terminal.redraw(`${cut.join('\n')}\n`);
  };

  let drawnAtMs = Number.NEGATIVE_INFINITY;
  let due: AbortController | null = null;
  using _ending = onAbort(signal, () => due?.abort());
  const drawSoon = async (): Promise<void> => {
    if (due !== null) return;
    const timer = new AbortController();
    due = timer;
    const waitMs = Math.max(0, drawnAtMs + REDRAW_MS - clock.monotonicMs());
    try {
      await clock.sleep(waitMs, timer.signal);
    } catch {
      return; // the command ends
    }
    due = null;
    drawnAtMs = clock.monotonicMs();
    await draw();
  };

  const onRetry = (error: Error) => {
    trouble = describeError(error);
    void drawSoon();
  };
  const onOpen = () => {
    if (trouble === null) return;
    trouble = null;
    void drawSoon();
  };
  const onStale = (now: boolean) => {
    if (now === isStale) return;
    isStale = now;
    void drawSoon();
  };
  const onFlaws = (now: Flaws) => {
    const before = flaws.join();
    skipped = now.skipped;
    flaws = isLogged(flags.logLevel, 'warn') ? describeFlaws(now).map((line) => `warning: ${line}`) : [];
    if (flaws.join() !== before) void drawSoon();
  };
  for await (const roll of rollChanges(context, flags, { signal, onRetry, onOpen, onStale, onFlaws })) {
    last = roll;
    void drawSoon();
  }
}
