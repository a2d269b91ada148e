import assert from 'node:assert/strict';
import type { DepartureCause, NodeRecord } from '../../src/record/record.ts';
import type { Hold, Store } from '../../src/store/store.ts';
import { sampleInstanceId, sampleRecord } from './sample-record.ts';

const NEVER = new AbortController().signal;

export interface WrittenNode {
  readonly hold: Hold;
  readonly record: NodeRecord;
}

/** Writes nodes as agents do, without an agent. */
export interface SampleWriter {
  readonly store: Store;
  register(n: number, overrides?: Partial<NodeRecord>, ttlMs?: number): Promise<WrittenNode>;
  /** Answers the revision, as the next. */
  update(node: WrittenNode, overrides: Partial<NodeRecord>): Promise<string>;
  depart(node: WrittenNode, cause?: DepartureCause): Promise<string>;
}

export function sampleWriter(store: Store): SampleWriter {
  return {
    store,
    async register(n, overrides = {}, ttlMs = 60_000) {
      const instanceId = sampleInstanceId(n);
      const record = sampleRecord({ ec2InstanceId: instanceId, ...overrides });
      const since = '2026-01-01T00:00:00.000Z';
      const registration = { instanceId, session: 'session-a', since, ttlMs, retentionMs: 86_400_000 };
      const outcome = await store.register(registration, record, { takeover: true, signal: NEVER });
      assert.ok(outcome.kind === 'registered');
      return { hold: outcome.hold, record };
    },
    async update({ hold, record }, overrides) {
      const outcome = await store.update(hold, { ...record, ...overrides }, NEVER);
      assert.ok(outcome.kind === 'written');
      return outcome.revision;
    },
    async depart({ hold, record }, cause = 'stopped') {
      const departure = { cause, at: '2026-01-01T00:00:01.000Z' };
      const outcome = await store.depart(hold, { ...record, departure }, NEVER);
      assert.ok(outcome.kind === 'written');
      return outcome.revision;
    },
  };
}
