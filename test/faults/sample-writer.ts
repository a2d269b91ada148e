import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Hold, Store } from '../../src/store/store.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

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
  depart(node: WrittenNode): Promise<string>;
}

/** @param endpoints of etcd, with nothing in between */
export async function openSampleWriter(t: TestContext, endpoints: readonly string[]): Promise<SampleWriter> {
  const store = await openStore(
    { kind: 'etcd', label: 'etcd://test', endpoints, prefix: '/rollcall', tls: null, credentials: null },
    { clock: systemClock, random: Math.random, signal: NEVER, create: true },
  );
  t.after(() => store.close());
  return {
    store,
    async register(n, overrides = {}, ttlMs = 60_000) {
      const instanceId = sampleInstanceId(n);
      const record = sampleRecord({ ec2InstanceId: instanceId, ...overrides });
      const registration = {
        instanceId,
        session: 's',
        since: '2026-01-01T00:00:00.000Z',
        ttlMs,
        retentionMs: 86_400_000,
      };
      const outcome = await store.register(registration, record, { takeover: true, signal: NEVER });
      assert.ok(outcome.kind === 'registered');
      return { hold: outcome.hold, record };
    },
    async update({ hold, record }, overrides) {
      const outcome = await store.update(hold, { ...record, ...overrides }, NEVER);
      assert.ok(outcome.kind === 'written');
      return outcome.revision;
    },
    async depart({ hold, record }) {
      const departure = { cause: 'stopped', at: '2026-01-01T00:00:01.000Z' } as const;
      const outcome = await store.depart(hold, { ...record, departure }, NEVER);
      assert.ok(outcome.kind === 'written');
      return outcome.revision;
    },
  };
}
