import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { encodePresence, encodeRecord } from '../../../src/record/codec.ts';
import type { NodeRecord } from '../../../src/record/record.ts';
import { createRollStore } from '../../../src/store/roll-store.ts';
import type { Store } from '../../../src/store/store.ts';
import { closeTestKvs, never, openTestKv } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { describeOnEtcds } from '../../support/etcd-versions.ts';
import { until } from '../../support/machine-time.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';
import { follow } from '../follow.ts';

const base64 = (text: string) => Buffer.from(text).toString('base64');
const since = (minute: number) => `2026-01-01T00:0${minute}:00.000Z`;

/**
 * An agent of before gRPC, as far as the store can tell: JSON to etcd's gateway, and writes guarded by the lease of the
 * presence.
 */
async function openOldAgent(gateway: string, instanceId: string, session: string, startedAt: string) {
  const post = async (path: string, body: object) => {
    const answer = await fetch(`${gateway}/${path}`, { method: 'POST', body: JSON.stringify(body) });
    return JSON.parse(await answer.text());
  };
  const grant = async (ttl: number): Promise<string> => (await post('lease/grant', { TTL: String(ttl) })).ID;
  const [presenceLease, retentionLease] = await Promise.all([grant(30), grant(86_400)]);
  const presenceKey = base64(`/rollcall/v1/presence/${instanceId}`);
  const recordKey = base64(`/rollcall/v1/records/${instanceId}`);
  const put = (key: string, text: string, lease: string) => ({ request_put: { key, value: base64(text), lease } });
  const held = { key: presenceKey, result: 'EQUAL', target: 'LEASE', lease: presenceLease };
  const succeeded = async (txn: object): Promise<boolean> => (await post('kv/txn', txn)).succeeded === true;
  return {
    register: (record: NodeRecord) => {
      const presence = encodePresence({ session, since: startedAt, ttlSeconds: 30 });
      const puts = [put(presenceKey, presence, presenceLease), put(recordKey, encodeRecord(record), retentionLease)];
      return succeeded({ success: puts });
    },
    update: (record: NodeRecord) =>
      succeeded({ compare: [held], success: [put(recordKey, encodeRecord(record), retentionLease)] }),
    depart: (record: NodeRecord) => {
      const gone = { request_delete_range: { key: presenceKey } };
      return succeeded({ compare: [held], success: [put(recordKey, encodeRecord(record), retentionLease), gone] });
    },
    /** Whether the lease is still there. */
    renew: async (): Promise<boolean> =>
      (await post('lease/keepalive', { ID: presenceLease })).result?.TTL !== undefined,
  };
}

describeOnEtcds('agents of before and after the change to gRPC, on the same keys', (version) => {
  let server: EtcdServer;
  let store: Store;
  let gateway = '';
  before(async () => {
    server = await startEtcd({ version });
    gateway = `${server.clientUrl}/${version.startsWith('3.3.') ? 'v3beta' : 'v3'}`;
    store = createRollStore(openTestKv(server.endpoints));
  });
  after(async () => {
    await closeTestKvs();
    await server.dispose();
  });

  const recordOf = (instanceId: string, session: string, overrides: Partial<NodeRecord> = {}) =>
    sampleRecord({ ec2InstanceId: instanceId, sidecar: { version: '0', session }, ...overrides });
  const register = async (instanceId: string, session: string, startedAt: string) => {
    const registration = { instanceId, session, since: startedAt, ttlMs: 30_000, retentionMs: 86_400_000 };
    const outcome = await store.register(registration, recordOf(instanceId, session), {
      takeover: true,
      signal: never,
    });
    assert.ok(outcome.kind === 'registered', outcome.kind);
    return outcome.hold;
  };

  it('are on one roll, and a watch tells what both do', async () => {
    const [oldId, newId] = [sampleInstanceId(1), sampleInstanceId(2)];
    const { revision } = await store.read(never);
    const watching = follow(store, revision);
    const old = await openOldAgent(gateway, oldId, 'old', since(0));
    assert.equal(await old.register(recordOf(oldId, 'old')), true);
    const hold = await register(newId, 'new', since(0));
    assert.equal(await old.update(recordOf(oldId, 'old', { cluster: 'other' })), true);
    assert.equal((await store.update(hold, recordOf(newId, 'new', { cluster: 'other' }), never)).kind, 'written');
    const { entries } = await store.read(never);
    assert.deepEqual(
      entries.map(({ record, presence }) => [record.ec2InstanceId, record.cluster, presence?.session]),
      [
        [oldId, 'other', 'old'],
        [newId, 'other', 'new'],
      ],
    );
    const departure = { cause: 'stopped', at: since(1) } as const;
    assert.equal(await old.depart(recordOf(oldId, 'old', { departure })), true);
    assert.equal((await store.depart(hold, recordOf(newId, 'new', { departure }), never)).kind, 'written');
    await until('all changes', 5_000, () => watching.changes().length === 10);
    await watching.stop();
  });

  it('on one node, the new one takes over from the old one, which learns of it by its next heartbeat', async () => {
    const id = sampleInstanceId(3);
    const old = await openOldAgent(gateway, id, 'old', since(0));
    await old.register(recordOf(id, 'old'));
    const hold = await register(id, 'new', since(1));
    assert.equal(await old.update(recordOf(id, 'old', { cluster: 'late' })), false);
    assert.equal(await old.depart(recordOf(id, 'old')), false);
    await until('its lease is gone', 5_000, async () => !(await old.renew()));
    assert.deepEqual(await store.renew(hold, never), { kind: 'renewed' });
    assert.equal((await store.readOne(id, never)).entry?.record.sidecar.session, 'new');
  });

  it('on one node, an old one that starts again takes over from the new one, as after going back', async () => {
    const id = sampleInstanceId(4);
    const hold = await register(id, 'new', since(0));
    const old = await openOldAgent(gateway, id, 'old', since(1));
    await old.register(recordOf(id, 'old'));
    assert.deepEqual(await store.update(hold, recordOf(id, 'new', { cluster: 'late' }), never), {
      kind: 'superseded',
      by: 'old',
    });
    assert.equal((await store.readOne(id, never)).entry?.record.sidecar.session, 'old');
  });
});
