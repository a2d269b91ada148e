import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fleetStatus, readStoreStatus } from '../../src/audit/fleet-status.ts';
import { parseFilter } from '../../src/record/filter.ts';
import { DEFAULT_MASS_LOSS } from '../../src/registry/mass-loss.ts';
import { recordKey } from '../../src/store/keys.ts';
import type { Store } from '../../src/store/store.ts';
import { fakeStore } from '../support/fake-store.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import { sampleNode } from './sample-sides.ts';

const { signal } = new AbortController();

test('a filter selects among all drains; the answer has 5,000 of them, and how many there are', async () => {
  const claim = {
    phase: 'drained',
    arn: 'arn',
    cluster: 'demo',
    reason: 'r',
    since: '2026-01-01T00:00:00Z',
    session: 's',
  };
  const drained = Array.from({ length: 5_030 }, (_, n) => ({ instanceId: sampleInstanceId(n), claim }));
  const store: Store = Object.create(fakeStore(), {
    drainSlots: { value: { list: async () => [...drained, { instanceId: 'of another program', claim: null }] } },
  });
  const read = await readStoreStatus(store, simulatedClock(), signal);
  // The last 20 nodes are in another cluster.
  const entries = drained.map((_, n) => sampleNode(n, { cluster: n < 5_010 ? 'demo' : 'prod' }));
  const roll = {
    roll: { revision: '7', entries, skipped: [] },
    ageMs: 0,
    stale: false,
    uncertainty: null,
    massLoss: null,
  };
  const all = fleetStatus(roll, read, parseFilter({}));
  assert.deepEqual([all.drains?.length, all.draining], [5_000, 5_030]);
  const prod = fleetStatus(roll, read, parseFilter({ cluster: ['prod'] }));
  assert.deepEqual([prod.drains?.length, prod.draining], [20, 20]);
  const unknown = fleetStatus(roll, { ...read, drains: null }, parseFilter({}));
  assert.deepEqual([unknown.drains, unknown.draining], [null, null]);
});

test('many lost nodes are a note, among those that the filter asks for, unless the answer says that it is uncertain', async () => {
  const read = await readStoreStatus(fakeStore(), simulatedClock(), signal);
  const entries = Array.from({ length: 30 }, (_, n) => {
    const node = sampleNode(n, { cluster: n < 20 ? 'demo' : 'prod' });
    return n < 8 ? { ...node, presence: null } : node;
  });
  const roll = { roll: { revision: '7', entries, skipped: [] }, ageMs: 0, stale: false, uncertainty: null };
  const massLoss = DEFAULT_MASS_LOSS;
  const notes = (of: Partial<Parameters<typeof fleetStatus>[0]>, cluster: string, ...health: string[]) =>
    fleetStatus({ ...roll, massLoss, ...of }, { ...read, notes: [] }, parseFilter({ cluster: [cluster], health }))
      .notes;
  const [note = ''] = notes({}, 'demo', 'passing');
  assert.match(
    note,
    /^8 of 20 nodes are lost \(40%, more than 30%\): if this is new, the store or the network may have/,
  );
  assert.deepEqual(notes({}, 'demo,prod', 'passing'), [], '8 of 30 are fewer');
  assert.deepEqual(notes({ massLoss: null }, 'demo', 'passing'), []);
  const instants = { since: '2026-01-01T00:00:00Z', until: '2026-01-01T00:00:30Z' };
  const uncertainty = { vanished: 8, nodes: 20, limitShare: 0.3, limitCount: 5, ...instants };
  assert.deepEqual(notes({ uncertainty }, 'demo', 'passing'), []);
});

test('the claim of a node whose instance is terminated does not count as draining, as it takes no slot; that of a stopped one does', async () => {
  const list = async () => [0, 1, 2].map((n) => ({ instanceId: sampleInstanceId(n), claim: null }));
  const store: Store = Object.create(fakeStore(), { drainSlots: { value: { list } } });
  const read = await readStoreStatus(store, simulatedClock(), signal);
  const at = '2026-01-01T00:00:00Z';
  const interruption = { kind: 'asg-termination', action: 'terminate', time: null } as const;
  const gone = (n: number, cause: 'stopped' | 'asg-termination') => ({
    ...sampleNode(n, { departure: { cause, at }, interruption: cause === 'stopped' ? null : interruption }),
    presence: null,
  });
  const entries = [sampleNode(0), gone(1, 'stopped'), gone(2, 'asg-termination')];
  const roll = {
    ...{ roll: { revision: '7', entries, skipped: [] }, ageMs: 0, stale: false, uncertainty: null, massLoss: null },
  };
  const { drains, draining } = fleetStatus(roll, read, parseFilter({}));
  assert.deepEqual([drains?.map(({ ec2InstanceId }) => ec2InstanceId), draining], [[0, 1].map(sampleInstanceId), 2]);
});

test('the claim of a forgotten node does not count as draining; that of a node whose record cannot be read does', async () => {
  const list = async () => [0, 1, 2].map((n) => ({ instanceId: sampleInstanceId(n), claim: null }));
  const store: Store = Object.create(fakeStore(), { drainSlots: { value: { list } } });
  const read = await readStoreStatus(store, simulatedClock(), signal);
  const skipped = [{ key: recordKey(sampleInstanceId(1)), reason: 'not JSON' }];
  const roll = {
    roll: { revision: '7', entries: [sampleNode(0)], skipped },
    ageMs: 0,
    stale: false,
    uncertainty: null,
    massLoss: null,
  };
  const { drains, draining } = fleetStatus(roll, read, parseFilter({}));
  assert.deepEqual([drains?.map(({ ec2InstanceId }) => ec2InstanceId), draining], [[0, 1].map(sampleInstanceId), 2]);
});
