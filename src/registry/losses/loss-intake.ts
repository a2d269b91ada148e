import { diffEntry } from '../../record/diff.ts';
import type { RollEvent } from '../../record/event.ts';
import { presenceState, type RollEntry } from '../../record/roll.ts';
import type { GuardInput, GuardState } from './loss-state.ts';

/** The TTL is what a node wrote about itself. No mistake in it holds a loss back for longer. */
const MAX_HOLD_MS = 300_000;

interface Intake {
  readonly state: GuardState;
  /** What is no loss, and so was not held; a snapshot tells it itself. */
  readonly events: readonly RollEvent[];
}

/**
 * Holds back every loss in the changes, and lets those go that were held and are not lost any more: back, departed or
 * forgotten. What is told of these is the difference from what readers were last told.
 */
export function takeChanges(
  state: GuardState,
  { kind, revision, changes, present }: Extract<GuardInput, { kind: 'changes' | 'snapshot' }>,
  nowMs: number,
): Intake {
  let { held, losses, lastDueMs } = state;
  let returned = 0;
  const events: RollEvent[] = [];
  const release = (instanceId: string, after: RollEntry | null) => {
    if (!held.has(instanceId)) return;
    held = held.without(instanceId);
    losses = losses.without(instanceId);
    if (after?.presence) returned += 1;
  };

  if (kind === 'snapshot') {
    // The changes are against what readers were told: a held node that is not among them is present as before.
    const changed = new Set(changes.map(({ instanceId }) => instanceId));
    for (const [instanceId, shown] of held) if (!changed.has(instanceId)) release(instanceId, shown);
  }
  for (const { instanceId, before, after } of changes) {
    const shown = held.get(instanceId) ?? before;
    if (shown?.presence && after && presenceState(after) === 'lost') {
      const dueAtMs = nowMs + holdMs(shown.presence.ttlSeconds);
      const loss = losses.get(instanceId) ?? { revision, dueAtMs };
      held = held.with(instanceId, shown);
      losses = losses.with(instanceId, { ...loss, after });
      lastDueMs = Math.max(lastDueMs, loss.dueAtMs);
      continue;
    }
    release(instanceId, after);
    if (kind === 'changes') events.push(...diffEntry(instanceId, shown, after, revision));
  }

  const { phase } = state;
  const heldAfter = kind === 'snapshot' ? '0' : (state.heldAfter ?? String(BigInt(revision) - 1n));
  return {
    state: {
      ...state,
      held,
      losses,
      heldAfter: held.size === 0 ? null : heldAfter,
      lastDueMs: held.size === 0 ? 0 : lastDueMs,
      phase: phase.kind === 'uncertain' ? { ...phase, returned: phase.returned + returned } : phase,
      revision,
      present,
    },
    events,
  };
}

function holdMs(ttlSeconds: number): number {
  return Math.min(Math.max(ttlSeconds * 1_000, 0), MAX_HOLD_MS);
}
