import assert from 'node:assert/strict';
import { cloudEvent } from '../../src/record/cloud-event.ts';
import { diffEntry, type RollEvent } from '../../src/record/events.ts';
import { presenceState, type RollEntry } from '../../src/record/roll.ts';
import type { EventBatch } from '../../src/registry/event-source.ts';
import { type Held, holdBatch, NOTHING_HELD } from '../../src/registry/hold.ts';
import { initialVerdict, judgeLosses, type VerdictInput } from '../../src/registry/loss-verdict.ts';
import type { MassLossLimits } from '../../src/registry/mass-loss.ts';
import { logBatches, undo, type Waiting } from '../../src/registry/waiting-changes.ts';
import { sampleInstanceId, sampleRecord } from './sample-record.ts';

const WALL_AT_ZERO_MS = Date.parse('2026-01-01T00:00:00Z');

/** The store's answer to a poll for overdue nodes, and after how long; null: never. */
export type PollAnswer = { readonly asked: number; readonly overdue: number; readonly afterMs: number } | null;

export interface EmittedEvent {
  readonly atMs: number;
  readonly event: RollEvent;
}

/**
 * A fleet whose changes go through the verdict, with two consumers that apply the events: one of the facts, one behind the
 * filter that holds uncertain losses. The clock moves from one wake-up of the verdict to the next. After each step it
 * asserts the invariants.
 */
export function verdictDriver(size: number, limits: MassLossLimits, pollAnswer: () => PollAnswer, ttlSeconds = 30) {
  const real = new Map<string, RollEntry>();
  const facts = new Map<string, RollEntry>();
  const holding = new Map<string, RollEntry>();
  const lossAt = new Map<string, { atMs: number; revision: string }>();
  const emitted: EmittedEvent[] = [];
  const held: EmittedEvent[] = [];
  const emittedIds = new Set<string>();
  let waiting: Waiting[] = [];
  let keeping: Held = NOTHING_HELD;
  let state = initialVerdict;
  let revision = 100;
  let session = 0;
  let [nowMs, wakeAtMs] = [0, null as number | null];
  let answers: { dueMs: number; input: VerdictInput }[] = [];
  let polls = 0;

  const presence = () => {
    session += 1;
    return { session: `s-${session}`, since: '2026-01-01T00:00:00.000Z', ttlSeconds };
  };
  const present = () => [...real.values()].filter((entry) => entry.presence).length;
  const roll = () => ({ revision: String(revision), entries: [...real.values()], skipped: [] });

  const apply = (known: Map<string, RollEntry>, event: RollEvent) => {
    if (!('instanceId' in event)) return;
    if (!event.snapshot) {
      assert.deepEqual(event.before, known.get(event.instanceId) ?? null, 'it starts from the entry that readers have');
    }
    if (event.after) known.set(event.instanceId, event.after);
    else known.delete(event.instanceId);
  };

  const send = (batch: EventBatch) => {
    for (const event of batch.events) {
      emitted.push({ atMs: nowMs, event });
      if (event.kind === 'synced' || ('instanceId' in event && event.snapshot)) continue;
      const { id } = cloudEvent(event, 'store', nowMs);
      assert.ok(!emittedIds.has(id), `a reader that drops duplicates would drop the second ${id}`);
      emittedIds.add(id);
      apply(facts, event);
      if (event.kind === 'lost' && event.before?.presence) {
        const waitedMs = nowMs - (lossAt.get(event.instanceId)?.atMs ?? nowMs);
        assert.ok(waitedMs <= 500, `a fact waited for ${waitedMs} ms`);
      }
    }
    const step = holdBatch(keeping, batch);
    keeping = step.held;
    for (const event of step.batch.events) {
      held.push({ atMs: nowMs, event });
      apply(holding, event);
      if (event.kind !== 'lost' || !('before' in event) || !event.before) continue;
      assert.equal(event.uncertain, undefined, 'what is sent at last is certain');
      const heldMs = nowMs - (lossAt.get(event.instanceId)?.atMs ?? Number.NaN);
      const ttlMs = Math.min(ttlSeconds * 1_000, 300_000);
      assert.ok(heldMs <= 500 || (heldMs >= ttlMs && heldMs <= 4 * ttlMs), `held for ${heldMs} ms`);
    }
    for (const { loss } of keeping.kept.values()) {
      if (loss.after === null) assert.equal(step.batch.cursor, null);
      else if (step.batch.cursor !== null) {
        assert.ok(BigInt(step.batch.cursor) <= BigInt(loss.after), 'resuming would miss a loss');
      }
    }
  };

  const step = (input: VerdictInput) => {
    const result = judgeLosses(state, input, { monotonicMs: nowMs, wallMs: WALL_AT_ZERO_MS + nowMs }, limits);
    ({ state, wakeAtMs } = result);
    if (result.telling) {
      const items = waiting;
      waiting = [];
      const batches = logBatches(items, result.telling, String(revision));
      // A snapshot is of the end of the log.
      if (items[0]?.isSnapshot) sendSnapshot();
      else for (const batch of batches) send({ ...batch, cursor: batch.revision });
    }
    if (result.poll) {
      polls += 1;
      const answer = pollAnswer();
      if (answer) answers.push({ dueMs: nowMs + answer.afterMs, input: { kind: 'polled', ...answer } });
    }
    assertSound();
  };

  /** As readers get it from the registry. */
  const sendSnapshot = () => {
    facts.clear();
    holding.clear();
    const told = undo(roll(), waiting, String(revision));
    const uncertain = state.phase.kind === 'uncertain';
    const events: RollEvent[] = told.entries.flatMap((entry) => {
      const loss = uncertain ? state.open.get(entry.record.ec2InstanceId) : undefined;
      const states = diffEntry(entry.record.ec2InstanceId, null, entry, told.revision, true);
      return loss ? states.map((event) => ({ ...event, uncertain: loss })) : states;
    });
    for (const event of events) apply(facts, event);
    send({ events, cursor: null });
    if (state.phase.kind === 'uncertain') {
      const { uncertainty, part } = state.phase;
      emitted.push({ atMs: nowMs, event: { kind: 'uncertain', revision: told.revision, uncertainty, part } });
    }
    send({ events: [{ kind: 'synced', revision: `${told.revision}`, entries: told.entries }], cursor: told.revision });
  };

  const assertSound = () => {
    const told = undo(roll(), waiting, '0');
    assert.deepEqual(
      byId(facts),
      told.entries.map((entry) => [entry.record.ec2InstanceId, entry]),
      'facts are the roll',
    );
    const shown = new Map(facts);
    for (const [id, { loss, now }] of keeping.kept) {
      assert.equal(now, facts.get(id), `${id} is kept as it is`);
      assert.equal(presenceState(now), 'lost');
      shown.set(id, loss.before);
    }
    assert.deepEqual(byId(holding), byId(shown), 'behind the filter: the roll, with the kept nodes as they were');
    for (const [id, loss] of state.open) {
      const now = real.get(id);
      assert.ok(loss.before.presence && now && presenceState(now) === 'lost', `${id} is open and not lost`);
    }
    assert.equal(state.open.size === 0, state.phase.kind === 'rest');
    assert.equal(wakeAtMs === null, state.open.size === 0, 'it has a wake-up exactly while a loss is open');
    if (state.phase.kind === 'uncertain') {
      assert.equal(waiting.length, 0, 'facts wait for a verdict only');
      const { vanished, nodes } = state.phase.uncertainty;
      assert.ok(vanished <= nodes, `${vanished} vanished of ${nodes}`);
      assert.deepEqual([...keeping.kept.keys()].sort(), [...state.open.keys()].sort());
    } else {
      assert.equal(keeping.kept.size, 0);
    }
  };

  /** For a node that is lost already the first loss counts, also if it returned and vanished again unseen. */
  const noteLosses = (changes: readonly { instanceId: string; after: RollEntry | null }[]) => {
    for (const { instanceId, after } of changes) {
      if (after === null || presenceState(after) !== 'lost') lossAt.delete(instanceId);
      else if (!lossAt.has(instanceId)) lossAt.set(instanceId, { atMs: nowMs, revision: String(revision) });
    }
  };

  /** Puts these entries (null: removed) into the store without feeding the verdict. */
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
    facts.set(ec2InstanceId, entry);
    holding.set(ec2InstanceId, entry);
  }

  const change = (...entries: readonly (readonly [string, RollEntry | null])[]) => {
    const changes = put(entries);
    noteLosses(changes);
    waiting.push({ revision: String(revision), changes, audit: [], isSnapshot: false });
    step({ kind: 'changes', revision: String(revision), changes, present: present() });
  };

  return {
    emitted,
    held,
    real,
    lossAt,
    get state() {
      return state;
    },
    get uncertainty() {
      return state.phase.kind === 'uncertain' ? state.phase.uncertainty : null;
    },
    get polls() {
      return polls;
    },
    nowMs: () => nowMs,
    /** Of the consumer behind the filter, outside of snapshots. */
    heldEvents: () => held.flatMap(({ event }) => ('instanceId' in event && !event.snapshot ? [event] : [])),
    /** The facts so far, in short. */
    summary: () => summary(emitted),
    /** The same of the consumer behind the filter. */
    heldSummary: () => summary(held),
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
    /** As after a gap: feeds the differences between the roll that was sent and the store's. */
    snapshot: () => {
      const ids = new Set([...facts.keys(), ...real.keys()]);
      const changes = [...ids].flatMap((instanceId) => {
        const [before, after] = [facts.get(instanceId) ?? null, real.get(instanceId) ?? null];
        return before === after ? [] : [{ instanceId, before, after }];
      });
      noteLosses([...real].map(([instanceId, after]) => ({ instanceId, after })));
      waiting = [{ revision: String(revision), changes, audit: [], isSnapshot: true }];
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

/** The kinds of the events so far, with repetitions counted: `uncertain lost?×3`, `?` for what is uncertain. */
function summary(events: readonly EmittedEvent[]): string {
  const runs: [string, number][] = [];
  for (const { event } of events) {
    if ('instanceId' in event && event.snapshot) continue;
    const name = 'uncertain' in event && event.uncertain ? `${event.kind}?` : event.kind;
    const last = runs.at(-1);
    if (last?.[0] === name) last[1] += 1;
    else runs.push([name, 1]);
  }
  return runs.map(([name, count]) => (count === 1 ? name : `${name}×${count}`)).join(' ');
}
