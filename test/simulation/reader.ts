import type { RollEvent } from '../../src/record/events.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { type EventBatch, FutureRevisionError, SlowReaderError } from '../../src/registry/event-source.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { StoreError } from '../../src/store/store-errors.ts';
import type { Process } from './host.ts';
import { entryDigest, type Truth } from './truth.ts';

const RETRY_MS = 1_000;

/** A consumer of events, and what it makes of them: it goes on where it was, in one process after another. */
export interface Reader {
  /** Follows the roll in this process until it is killed. */
  follow(registry: Registry, process: Process): void;
  /** The next process begins with a snapshot. */
  forgetCursor(): void;
  /** Asks for the roll, and holds the answer against the truth. */
  ask(registry: Registry): void;
  /** Of the roll that its events amount to; null: it has none yet. */
  digest(): number | null;
  /** The revision up to which it got everything. */
  cursor(): string | null;
  /** In which of the store's histories its last snapshot was. */
  epoch(): number;
}

/** Slack on the age that an answer gives of itself: the way of the answer. */
const AGE_SLACK_MS = 3_000;

/** @param fail called with the promise that was broken */
export function createReader(
  name: string,
  truth: Truth,
  nowMs: () => number,
  fail: (invariant: string, text: string) => void,
): Reader {
  const roll = new Map<string, RollEntry>();
  let digest = 0;
  let synced = false;
  let cursor: string | null = null;
  /** `revision id` of what came since the cursor. */
  let told = new Set<string>();
  let covered = false;
  let epoch = truth.epoch();

  function put(id: string, entry: RollEntry | null) {
    const before = roll.get(id);
    digest += (entry ? entryDigest(entry) : 0) - (before ? entryDigest(before) : 0);
    if (entry) roll.set(id, entry);
    else roll.delete(id);
  }

  function take(event: RollEvent) {
    if ('instanceId' in event) {
      if (!event.snapshot) told.add(`${event.revision} ${event.instanceId}`);
      put(event.instanceId, event.after);
      return;
    }
    if (event.kind !== 'synced') return;
    const listed = new Set(event.entries.map(({ record }) => record.ec2InstanceId));
    for (const id of [...roll.keys()]) if (!listed.has(id)) put(id, null);
    for (const entry of event.entries) {
      if (roll.get(entry.record.ec2InstanceId) === entry) continue;
      const known = roll.get(entry.record.ec2InstanceId);
      if (!known || entryDigest(known) !== entryDigest(entry)) {
        fail('events fold to the roll', `${name}: at synced ${event.revision} ${entry.record.ec2InstanceId} differs`);
      }
      put(entry.record.ec2InstanceId, entry);
    }
    covered = true;
    synced = true;
    epoch = truth.epoch();
  }

  function consume({ events, cursor: next }: EventBatch) {
    for (const event of events) take(event);
    if (next === null) return;
    if (!truth.wasAt(Number(next), digest)) {
      fail('events fold to the roll', `${name}: at cursor ${next} its roll is not the store's of that revision`);
    }
    if (!covered && cursor !== null && Number(next) < Number(cursor)) {
      fail('cursors never go back', `${name}: from ${cursor} to ${next} without a snapshot`);
    }
    if (!covered && cursor !== null && epoch === truth.epoch()) {
      const missing = truth.changesBetween(Number(cursor), Number(next))?.find((change) => !told.has(change));
      if (missing)
        fail('every change is an event or covered', `${name}: ${missing} is not told between ${cursor} and ${next}`);
    }
    cursor = next;
    covered = false;
    told = new Set();
  }

  async function run(registry: Registry, process: Process): Promise<never> {
    const { signal } = new AbortController();
    for (;;) {
      try {
        for await (const batch of await registry.events({ since: cursor, signal })) consume(batch);
      } catch (error) {
        if (error instanceof FutureRevisionError) cursor = null;
        else if (!(error instanceof StoreError || error instanceof SlowReaderError) && !isDeadline(error)) throw error;
      }
      await process.clock.sleep(RETRY_MS, signal);
    }
  }

  return {
    follow(registry, process) {
      covered = false;
      told = new Set();
      run(registry, process).catch((error: unknown) => fail('nothing breaks', `${name}: ${String(error)}`));
    },
    forgetCursor() {
      cursor = null;
    },
    ask(registry) {
      const askedAtMs = nowMs();
      registry.read(new AbortController().signal).then(
        ({ roll: answer, ageMs, stale }) => {
          if (stale) return;
          if (!truth.wasSince(askedAtMs - ageMs - AGE_SLACK_MS, rollDigest(answer.entries))) {
            fail('a stale answer says so', `${name}: a roll that is older than the ${ageMs} ms it gives itself`);
          }
        },
        () => {}, // it does not know the roll, and says so
      );
    },
    digest: () => (synced ? digest : null),
    cursor: () => cursor,
    epoch: () => epoch,
  };
}

/** A roll does not change: the next answer has the same entries as long as nothing happens. */
const rollDigests = new WeakMap<readonly RollEntry[], number>();

function rollDigest(entries: readonly RollEntry[]): number {
  const known = rollDigests.get(entries);
  if (known !== undefined) return known;
  const sum = entries.reduce((total, entry) => total + entryDigest(entry), 0);
  rollDigests.set(entries, sum);
  return sum;
}

function isDeadline(error: unknown): boolean {
  return error instanceof Error && error.name === 'DeadlineError';
}
