import assert from 'node:assert/strict';
import { afterEach, beforeEach } from 'node:test';
import type { NodeRecord } from '../../src/record/record.ts';
import { presenceState } from '../../src/record/roll.ts';
import type { Kv } from '../../src/store/kv.ts';
import { createRollStore } from '../../src/store/roll-store.ts';
import type { Hold, RegisterOutcome, Registration, Store } from '../../src/store/store.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { type Follower, follow } from './follow.ts';

/** An empty store of one kind, and what the suite does to it beside the contract. */
export interface Backend {
  /** The shortest presence TTL that the store grants as asked. */
  readonly ttlMs: number;
  /** Another client of the same store, as another process would be. */
  open(): Promise<Kv>;
  /** Lets `ms` go by: really, or on a simulated clock. */
  pass(ms: number): Promise<void>;
  /** Makes all changes up to now unavailable to watchers and readers of the past. */
  compact(): Promise<void>;
  /** Closes all clients. */
  dispose(): Promise<void>;
}

/** A fresh store for each test of the `describe` around it, and what the tests of the contract do with it. */
export function contractWorld(start: () => Promise<Backend>) {
  const { signal } = new AbortController();
  const followers: Follower[] = [];
  let backend: Backend;
  let kv: Kv;
  let store: Store;

  beforeEach(async () => {
    backend = await start();
    kv = await backend.open();
    store = createRollStore(kv);
  });

  afterEach(async () => {
    for (const follower of followers.splice(0)) await follower.stop();
    await backend.dispose();
  });

  const id = sampleInstanceId();
  const registration = (session: string, instanceId = id): Registration => ({
    instanceId,
    session,
    since: '2026-01-01T00:00:00.000Z',
    ttlMs: backend.ttlMs,
    retentionMs: 3_600_000,
  });
  const recordOf = (session: string, overrides: Partial<NodeRecord> = {}) =>
    sampleRecord({ sidecar: { version: '0.1.0', session }, ...overrides });
  const register = async (session: string, options: { takeover?: boolean; by?: Store; instanceId?: string } = {}) => {
    const { takeover = true, by = store, instanceId = id } = options;
    const record = recordOf(session, { ec2InstanceId: instanceId });
    return by.register(registration(session, instanceId), record, { takeover, signal });
  };
  const departureOf = (session: string) =>
    recordOf(session, { departure: { cause: 'stopped', at: '2026-01-01T01:00:00.000Z' } });
  const stateOf = async (instanceId = id) => {
    const { entry } = await store.readOne(instanceId, signal);
    return entry && presenceState(entry);
  };
  const followFrom = (revision: string, by = store) => {
    const follower = follow(by, revision);
    followers.push(follower);
    return follower;
  };
  /** Lets time pass until `condition` holds; the limit is the TTL and the second that a reader may assume, and slack for a busy machine. */
  const until = async (condition: () => boolean | Promise<boolean>, what: string) => {
    for (let passedMs = 0; !(await condition()); passedMs += 100) {
      if (passedMs > backend.ttlMs + 8_000)
        assert.fail(`still not: ${what} (watches: ${followers.map(({ error }) => error())})`);
      await backend.pass(100);
    }
  };
  const raw = (key: string, value: string) =>
    kv.txn({ guards: [], puts: [{ key, value, lease: '0' }], deletes: [], reads: [] }, signal);

  return {
    // Getters, because each test has its own.
    get backend() {
      return backend;
    },
    get kv() {
      return kv;
    },
    get store() {
      return store;
    },
    signal,
    id,
    registration,
    recordOf,
    register,
    departureOf,
    stateOf,
    followFrom,
    until,
    raw,
  };
}

/** @returns the registration; fails if the store refused it */
export function heldBy(outcome: RegisterOutcome) {
  if (outcome.kind !== 'registered') assert.fail(`not registered: ${JSON.stringify(outcome)}`);
  return outcome;
}

/** The same hold on a lease that never was. */
export function gone(hold: Hold): Hold {
  return { ...hold, presenceLease: '4242' };
}
