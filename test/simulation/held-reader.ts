import type { RollEvent } from '../../src/record/events.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import {
  type EventBatch,
  type EventSource,
  FutureRevisionError,
  SlowReaderError,
} from '../../src/registry/event-source.ts';
import type { holdLosses } from '../../src/registry/hold.ts';
import { StoreError } from '../../src/store/store-errors.ts';
import type { Process } from './host.ts';
import { entryDigest } from './truth.ts';

const RETRY_MS = 1_000;

/** A consumer that acts on losses, such as `watch --exec`: behind the filter that holds uncertain ones back. */
export interface HeldReader {
  /** Follows the events of this process until it is killed, from where it was. */
  follow(source: EventSource, process: Process): void;
  /** The next process begins with a snapshot. */
  forgetCursor(): void;
  /** How many losses were held back and taken back. */
  takenBack(): number;
}

/** A roll, with a number that is the same for the same roll. */
function createRoll() {
  const entries = new Map<string, RollEntry>();
  let digest = 0;
  return {
    entries,
    digest: () => digest,
    put(id: string, entry: RollEntry | null) {
      const before = entries.get(id);
      digest += (entry ? entryDigest(entry) : 0) - (before ? entryDigest(before) : 0);
      if (entry) entries.set(id, entry);
      else entries.delete(id);
    },
  };
}

/** @param fail called with the promise that was broken */
export function createHeldReader(
  name: string,
  hold: typeof holdLosses,
  fail: (invariant: string, text: string) => void,
): HeldReader {
  /** The roll by the events that the consumer got, and by those that the filter got. */
  const told = createRoll();
  const facts = createRoll();
  /** Losses that the filter may keep, with the revision at which each was seen. */
  const open = new Map<string, string>();
  let inSnapshot = false;
  let cursor: string | null = null;
  let takenBack = 0;

  function takeFact(event: RollEvent) {
    if (event.kind === 'certain') {
      for (const [id, revision] of open) if (BigInt(revision) <= BigInt(event.upTo)) open.delete(id);
    } else if (event.kind === 'synced') {
      if (!inSnapshot) open.clear();
      inSnapshot = false;
      const listed = new Set(event.entries.map(({ record }) => record.ec2InstanceId));
      for (const id of [...facts.entries.keys()]) if (!listed.has(id)) facts.put(id, null);
    } else if ('instanceId' in event) {
      const { instanceId, after } = event;
      if (event.snapshot && !inSnapshot) open.clear();
      inSnapshot = event.snapshot;
      if (event.uncertain) open.set(instanceId, event.uncertain.revision);
      else if (open.has(instanceId) && (after === null || after.presence || after.record.departure)) {
        open.delete(instanceId);
        takenBack += 1;
      }
      facts.put(instanceId, after);
    }
  }

  /** The filter gets a batch when this has taken it. */
  const tapped = (source: EventSource): EventSource => ({
    async events(options) {
      const batches = await source.events(options);
      return (async function* () {
        for await (const batch of batches) {
          for (const event of batch.events) takeFact(event);
          yield batch;
        }
      })();
    },
  });

  function take(event: RollEvent) {
    if (event.kind === 'synced') {
      const listed = new Set(event.entries.map(({ record }) => record.ec2InstanceId));
      for (const id of [...told.entries.keys()]) if (!listed.has(id)) told.put(id, null);
    } else if ('instanceId' in event) {
      told.put(event.instanceId, event.after);
      if (event.kind !== 'lost' || event.snapshot) return;
      const isBack = facts.entries.get(event.instanceId)?.presence;
      if (event.uncertain || isBack) {
        fail('no loss that may be taken back is acted on', `${name}: ${event.instanceId} at ${event.revision}`);
      }
    }
  }

  /** But for what is held back, the consumer knows what is. */
  function check() {
    let heldBack = 0;
    for (const id of open.keys()) {
      const [was, is] = [told.entries.get(id), facts.entries.get(id)];
      heldBack += (is ? entryDigest(is) : 0) - (was ? entryDigest(was) : 0);
    }
    if (told.digest() + heldBack === facts.digest()) return;
    const differs = [...facts.entries.keys(), ...told.entries.keys()].find((id) => {
      const [was, is] = [told.entries.get(id), facts.entries.get(id)];
      return !open.has(id) && (was ? entryDigest(was) : 0) !== (is ? entryDigest(is) : 0);
    });
    if (differs) fail('a consumer that holds losses back has the roll', `${name}: ${differs} differs at ${cursor}`);
  }

  function consume(batch: EventBatch) {
    for (const event of batch.events) take(event);
    cursor = batch.cursor;
    if (!inSnapshot) check();
  }

  async function run(source: EventSource, process: Process): Promise<never> {
    const { signal } = new AbortController();
    for (;;) {
      try {
        // What is kept is in the filter, and comes again after the cursor.
        open.clear();
        inSnapshot = false;
        for (const id of [...facts.entries.keys()]) facts.put(id, null);
        for (const [id, entry] of told.entries) facts.put(id, entry);
        for await (const batch of await hold(tapped(source)).events({ since: cursor, signal })) consume(batch);
      } catch (error) {
        if (error instanceof FutureRevisionError) cursor = null;
        else if (!(error instanceof StoreError || error instanceof SlowReaderError) && !isDeadline(error)) throw error;
      }
      await process.clock.sleep(RETRY_MS, signal);
    }
  }

  return {
    follow(source, process) {
      run(source, process).catch((error: unknown) => fail('nothing breaks', `${name}: ${String(error)}`));
    },
    forgetCursor() {
      cursor = null;
    },
    takenBack: () => takenBack,
  };
}

function isDeadline(error: unknown): boolean {
  return error instanceof Error && error.name === 'DeadlineError';
}
