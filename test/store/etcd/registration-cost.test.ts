import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { createRollStore } from '../../../src/store/roll-store.ts';
import type { Hold, Store } from '../../../src/store/store.ts';
import { closeTestKvs, never, openTestKv } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { describeOnEtcds } from '../../support/etcd-versions.ts';
import { until } from '../../support/machine-time.ts';
import { sampleRecord } from '../../support/sample-record.ts';

describeOnEtcds('what a registration costs etcd', (version) => {
  let server: EtcdServer;
  let store: Store;
  before(async () => {
    server = await startEtcd({ version });
    store = createRollStore(openTestKv(server.endpoints));
  });
  after(async () => {
    await closeTestKvs();
    await server.dispose();
  });

  const record = (session: string) => sampleRecord({ sidecar: { version: '1', session } });
  const register = async (session: string, takeover = true): Promise<Hold> => {
    const own = { instanceId: record(session).ec2InstanceId, session, since: '2026-01-01T00:00:00Z' };
    const registration = { ...own, ttlMs: 30_000, retentionMs: 86_400_000 };
    const outcome = await store.register(registration, record(session), { takeover, signal: never });
    assert.ok(outcome.kind === 'registered', outcome.kind);
    return outcome.hold;
  };
  const read = async () => ({
    proposals: await server.metric('etcd_server_proposals_committed_total'),
    calls: await server.metric('grpc_server_started_total'),
  });
  /** etcd counts a little after it has answered. */
  const counts = async () => {
    let last = await read();
    await until(
      'etcd has counted all',
      10_000,
      async () => {
        const before = last;
        last = await read();
        return isDeepStrictEqual(last, before);
      },
      { everyMs: 100 },
    );
    return last;
  };
  const costOf = async (work: () => Promise<unknown>) => {
    const { proposals, calls } = await counts();
    await work();
    const now = await counts();
    return { proposals: now.proposals - proposals, calls: now.calls - calls };
  };

  it('three proposals and four calls for a node that etcd does not know, two and three for one that it knows', async () => {
    let hold: Hold | undefined;
    const first = async () => {
      hold = await register('a');
    };
    assert.deepEqual(await costOf(first), { proposals: 3, calls: 4 });
    assert.ok(hold);
    const departure = { cause: 'stopped', at: '2026-01-01T01:00:00Z' } as const;
    await store.depart(hold, { ...record('a'), departure }, never);
    assert.deepEqual(await costOf(() => register('b')), { proposals: 2, calls: 3 }, 'after a departure');
    await server.etcdctl('del', `/rollcall/v1/presence/${record('b').ec2InstanceId}`);
    assert.deepEqual(await costOf(() => register('b', false)), { proposals: 2, calls: 3 }, 'after a loss');
  });
});
