import assert from 'node:assert/strict';
import { cloudEvent } from '../../src/record/cloud-event.ts';
import type { RollEvent } from '../../src/record/events.ts';
import { presenceState, type RollEntry } from '../../src/record/roll.ts';
import { type GuardInput, guardLosses, initialGuardState } from '../../src/registry/loss-guard.ts';
import type { MassLossLimits } from '../../src/registry/mass-loss.ts';
import { sampleInstanceId, sampleRecord } from './sample-record.ts';

const WALL_AT_ZERO_MS = Date.parse('2026-01-01T00:00:00Z');

/** The store's answer to a poll for overdue nodes, and after how long; null: never. */
export type PollAnswer = { readonly asked: number; readonly overdue: number; readonly afterMs: number } | null;

export interface EmittedEvent {
  readonly atMs: number;
  readonly event: RollEvent;
}

/**
 * A fleet whose changes go through the guard, with a reader that applies the events, on a clock that moves from one
 * wake-up of the guard to the next. After each step it asserts the invariants.
 */
export function guardDriver(
  size: number,
  limits: MassLossLimits | null,
  pollAnswer: () => PollAnswer,
  ttlSeconds = 30,
) {
  const real = new Map<string, RollEntry>();
  const reader = new Map<string, RollEntry>();
  const lossAt = new Map<string, { atMs: number; revision: string }>();
  const emitted: EmittedEvent[] = [];
  const emittedIds = new Set<string>();
  let state = initialGuardState;
  let revision = 100;
  let session = 0;
  let [nowMs, wakeAtMs] = [0, null as number | null];
  let answers: { dueMs: number; input: GuardInput }[] = [];
  let polls = 0;

  const presence = () => {
    session += 1;
    return { session: `s-${session}`, since: '2026-01-01T00:00:00.000Z', ttlSeconds };
  };
  const present = () => [...real.values()].filter((entry) => entry.presence).length;
  const step = (input: GuardInput) => {
    const result = guardLosses(state, input, { monotonicMs: nowMs, wallMs: WALL_AT_ZERO_MS + nowMs }, limits);
    ({ state, wakeAtMs } = result);
    for (const event of result.events) {
      emitted.push({ atMs: nowMs, event });
      const { id } = cloudEvent(event, 'store', nowMs);
      assert.ok(!emittedIds.has(id), `a reader that drops duplicates would drop the second ${id}`);
      emittedIds.add(id);
      if (!('instanceId' in event)) continue;
      assert.notEqual(input.kind, 'snapshot', 'a snapshot has the nodes itself');
      assert.deepEqual(
        event.before,
        reader.get(event.instanceId) ?? null,
        'it starts from the entry that the reader has',
      );
      if (event.kind === 'lost' && event.before && limits) {
        const heldMs = nowMs - (lossAt.get(event.instanceId)?.atMs ?? Number.NaN);
        assert.ok(heldMs <= 500 || heldMs >= Math.min(ttlSeconds * 1_000, 300_000), `held for ${heldMs} ms`);
      }
      if (event.after) reader.set(event.instanceId, event.after);
      else reader.delete(event.instanceId);
    }
    if (input.kind === 'snapshot') {
      reader.clear();
      for (const [id, entry] of real) reader.set(id, entry);
      for (const [id, entry] of state.held) reader.set(id, entry);
    }
    if (result.poll) {
      polls += 1;
      const answer = pollAnswer();
      if (answer) answers.push({ dueMs: nowMs + answer.afterMs, input: { kind: 'polled', ...answer } });
    }
    assertSound();
  };

  const assertSound = () => {
    const shown = new Map([...real, ...state.held]);
    assert.deepEqual(byId(reader), byId(shown), 'readers have the store’s roll with the held nodes as they were');
    assert.deepEqual([...state.held.keys()].sort(), [...state.losses.keys()].sort());
    for (const [id, entry] of state.held) {
      const now = real.get(id);
      assert.ok(entry.presence && now && presenceState(now) === 'lost', `${id} is held and not lost`);
      assert.equal(state.losses.get(id)?.after, now);
      assert.ok(BigInt(state.heldAfter ?? -1) < BigInt(lossAt.get(id)?.revision ?? -1), 'resuming would miss a loss');
    }
    assert.equal(state.heldAfter === null, state.held.size === 0);
    assert.equal(state.uncertainty === null, state.phase.kind !== 'uncertain');
    assert.equal(wakeAtMs === null, state.held.size === 0, 'it has a wake-up exactly while it holds losses');
    const vanished = state.uncertainty?.vanished ?? 0;
    assert.ok(vanished <= (state.uncertainty?.nodes ?? 0), `${vanished} vanished`);
  };

  /** For a node that is lost already the first loss counts, also if it returned and vanished again unseen. */
  const noteLosses = (changes: readonly { instanceId: string; after: RollEntry | null }[]) => {
    for (const { instanceId, after } of changes) {
      if (after === null || presenceState(after) !== 'lost') lossAt.delete(instanceId);
      else if (!lossAt.has(instanceId)) lossAt.set(instanceId, { atMs: nowMs, revision: String(revision) });
    }
  };

  /** Puts these entries (null: removed) into the store without feeding the guard. */
  const put = (entries: readonly (readonly [string, RollEntry | null])[]) => {
    revision += 1;
    return entries.map(([instanceId, after]) => {
      const before = real.get(instanceId) ?? null;
      if (after) real.set(instanceId, after);
      else real.delete(instanceId);
      return { instanceId, before, after };
    });
  };

  for (let n = 0; n < size; n += 1) {
    const ec2InstanceId = sampleInstanceId(n);
    const entry = { record: sampleRecord({ ec2InstanceId }), presence: presence() };
    real.set(ec2InstanceId, entry);
    reader.set(ec2InstanceId, entry);
  }

  const change = (...entries: readonly (readonly [string, RollEntry | null])[]) => {
    const changes = put(entries);
    noteLosses(changes);
    step({ kind: 'changes', revision: String(revision), changes, present: present() });
  };

  return {
    emitted,
    real,
    lossAt,
    get state() {
      return state;
    },
    get polls() {
      return polls;
    },
    nowMs: () => nowMs,
    instanceEvents: () => emitted.flatMap(({ event }) => ('instanceId' in event ? [event] : [])),
    /** The kinds of the events so far, with repetitions counted: `uncertain lost×3`. */
    summary: () => {
      const runs: [string, number][] = [];
      for (const { event } of emitted) {
        const last = runs.at(-1);
        if (last?.[0] === event.kind) last[1] += 1;
        else runs.push([event.kind, 1]);
      }
      return runs.map(([kind, count]) => (count === 1 ? kind : `${kind}×${count}`)).join(' ');
    },
    change,
    put,
    lost: (id: string): [string, RollEntry | null] => {
      const entry = real.get(id);
      return [id, entry ? { ...entry, presence: null } : null];
    },
    back: (id: string): [string, RollEntry] => {
      const record = real.get(id)?.record ?? sampleRecord({ ec2InstanceId: id });
      return [id, { record: { ...record, departure: null }, presence: presence() }];
    },
    departed: (id: string): [string, RollEntry] => {
      const departure = { cause: 'stopped', at: '2026-01-01T01:00:00Z' } as const;
      return [id, { record: sampleRecord({ ec2InstanceId: id, departure }), presence: null }];
    },
    /** As after a gap: feeds the differences between the reader's roll and the store's. */
    snapshot: () => {
      const ids = new Set([...reader.keys(), ...real.keys()]);
      const changes = [...ids].flatMap((instanceId) => {
        const [before, after] = [reader.get(instanceId) ?? null, real.get(instanceId) ?? null];
        return before === after ? [] : [{ instanceId, before, after }];
      });
      noteLosses([...real].map(([instanceId, after]) => ({ instanceId, after })));
      step({ kind: 'snapshot', revision: String(revision), changes, present: present() });
    },
    /** Lets time pass in which the store is away. */
    beAway: (ms: number) => {
      nowMs += ms;
    },
    /** Lets time pass, with the wake-ups and answers that fall into it. */
    pass: (ms: number) => {
      const endMs = nowMs + ms;
      for (;;) {
        const answer = answers.toSorted((a, b) => a.dueMs - b.dueMs)[0];
        const nextMs = Math.min(answer?.dueMs ?? Number.POSITIVE_INFINITY, wakeAtMs ?? Number.POSITIVE_INFINITY);
        if (nextMs > endMs) break;
        nowMs = Math.max(nowMs, nextMs);
        if (answer && answer.dueMs <= nowMs) {
          answers = answers.filter((other) => other !== answer);
          step(answer.input);
        } else {
          step({ kind: 'tick' });
        }
      }
      nowMs = endMs;
    },
  };
}

function byId(roll: ReadonlyMap<string, RollEntry>): [string, RollEntry][] {
  return [...roll].sort(([a], [b]) => (a < b ? -1 : 1));
}
