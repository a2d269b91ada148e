import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeRecord } from '../../../src/record/record.ts';
import type { Roll } from '../../../src/record/roll.ts';
import type { Hold, Store } from '../../../src/store/store.ts';
import { StoreError } from '../../../src/store/store-errors.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';

export interface RandomWrites {
  readonly store: Store;
  readonly random: () => number;
  readonly operations: number;
  /** Goes on past that many until this holds: a quick machine would be done before anything has happened to it. */
  readonly enough: () => boolean;
  readonly nodes: number;
  /** Writes under way at any moment: what sets the pace. */
  readonly atOnce: number;
  readonly signal: AbortSignal;
}

interface Node {
  readonly id: string;
  sessions: number;
  hold: Hold | null;
  record: NodeRecord;
  busy: boolean;
}

/** What becomes of a node without heartbeats, by the label of that name: TTL and retention in seconds. */
const FATES = { stays: [3_600, 7_200], lost: [2, 600], forgotten: [2, 3] } as const;
type Fate = keyof typeof FATES;

const RETRY_MS = 50;
const START_MS = Date.parse('2026-01-01T00:00:00Z');

/**
 * Carries out at least so many random registrations, changes and departures, each until the store has said that it is
 * done, and leaves nodes to be lost and forgotten by their leases. Answers how often it did what.
 */
export async function writeRandomly({ store, random, operations, enough, nodes, atOnce, signal }: RandomWrites) {
  const all = Array.from({ length: nodes }, (_, n): Node => {
    const id = sampleInstanceId(n);
    return { id, sessions: 0, hold: null, record: sampleRecord({ ec2InstanceId: id }), busy: false };
  });
  const done = { registered: 0, updated: 0, departed: 0, retried: 0 };
  let left = operations;

  async function patiently<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof StoreError && error.retryable)) throw error;
        done.retried += 1;
        await sleep(RETRY_MS);
      }
    }
  }

  async function register(node: Node) {
    const fate = drawFate(random());
    const [ttlSeconds, retentionSeconds] = FATES[fate];
    node.sessions += 1;
    const session = `s${node.sessions}`;
    const since = new Date(START_MS + node.sessions * 1_000).toISOString();
    const labels = { fate, session };
    node.record = sampleRecord({
      ec2InstanceId: node.id,
      labels,
      registeredAt: since,
      sidecar: { version: '1', session },
    });
    const registration = {
      instanceId: node.id,
      session,
      since,
      ttlMs: ttlSeconds * 1_000,
      retentionMs: retentionSeconds * 1_000,
    };
    const outcome = await patiently(() => store.register(registration, node.record, { takeover: true, signal }));
    node.hold = outcome.kind === 'registered' ? outcome.hold : null;
    done.registered += 1;
  }

  async function update(node: Node, hold: Hold) {
    node.record = { ...node.record, ...change(node.record, random()) };
    const outcome = await patiently(() => store.update(hold, node.record, signal));
    if (outcome.kind !== 'written') node.hold = null;
    done.updated += 1;
  }

  async function depart(node: Node, hold: Hold) {
    const departure = { cause: 'asg-termination', at: '2026-01-01T00:00:00.000Z' } as const;
    await patiently(() => store.depart(hold, { ...node.record, departure }, signal));
    node.hold = null;
    done.departed += 1;
  }

  async function work() {
    while (left > 0 || !enough()) {
      left -= 1;
      let node = all[Math.floor(random() * nodes)];
      while (node === undefined || node.busy) node = all[Math.floor(random() * nodes)];
      node.busy = true;
      const dice = random();
      if (node.hold === null || dice < 0.1) await register(node);
      else if (dice < 0.22) await depart(node, node.hold);
      else await update(node, node.hold);
      node.busy = false;
    }
  }

  const ends = await Promise.allSettled(Array.from({ length: atOnce }, work));
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed) throw failed.reason;
  return done;
}

/** Nothing more happens by itself to the nodes that were written. */
export function isSettled({ entries }: Roll): boolean {
  return entries.every(({ record, presence }) => {
    const fate = record.labels['fate'];
    return fate !== 'forgotten' && (fate !== 'lost' || presence === null);
  });
}

function drawFate(dice: number): Fate {
  if (dice < 0.7) return 'stays';
  return dice < 0.9 ? 'lost' : 'forgotten';
}

function change(record: NodeRecord, dice: number): Partial<NodeRecord> {
  if (dice < 0.4) return { labels: { ...record.labels, dice: String(dice) } };
  if (dice < 0.8) {
    const status = record.health.status === 'passing' ? 'critical' : 'passing';
    return { health: { ...record.health, status } };
  }
  const notice = { kind: 'spot-interruption', action: 'terminate', time: '2026-01-01T00:02:00.000Z' };
  return { interruption: record.interruption ? null : notice };
}
