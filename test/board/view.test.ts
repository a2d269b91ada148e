import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boardNode } from '../../src/board/nodes.ts';
import {
  apiPath,
  DEFAULT_VIEW,
  facetsOf,
  isFiltered,
  queryOfView,
  SORT_FIELDS,
  selectNodes,
  unfiltered,
  type View,
  viewOfQuery,
} from '../../src/board/view.ts';
import { parseRollQuery } from '../../src/http/query.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

const THERE = { state: 'present', session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 } as const;
const NONE = new Set<string>();

function node(n: number, overrides: Partial<NodeRecord> = {}) {
  return boardNode({ ...sampleRecord({ ec2InstanceId: sampleInstanceId(n), ...overrides }), presence: THERE });
}

const NODES = [
  node(1, { availabilityZone: 'us-east-1a', labels: { role: 'web' }, privateIpAddress: '10.0.0.3' }),
  node(2, { availabilityZone: 'us-east-1b', labels: { role: 'db' }, cluster: 'other', privateIpAddress: '10.0.0.1' }),
  node(3, { availabilityZone: null, labels: {}, versionInfo: { agentVersion: '1.9.0', agentHash: null } }),
];

function ids(view: Partial<View>): readonly number[] {
  return selectNodes(NODES, { ...DEFAULT_VIEW, sort: 'instance', ...view }, NONE, 0).map(({ id }) =>
    Number(`0x${id.slice(2)}`),
  );
}

test('the view stands in the address and comes back from it', () => {
  const view: View = {
    ...{ cluster: 'a&b', zone: 'us-east-1a', type: 'm5.large', agent: '1.70.0', label: 'role=web' },
    ...{ tile: 'critical', search: '10.0 x', sort: 'since', descending: true, tab: 'audit', node: 'i-00000001' },
  };
  assert.deepEqual(viewOfQuery(new URLSearchParams(queryOfView(view))), view);
  assert.equal(queryOfView(DEFAULT_VIEW), '');
  assert.deepEqual(viewOfQuery(new URLSearchParams('sort=nonsense&show=nonsense&tab=x&what=y')), DEFAULT_VIEW);
});

test('filters and words of the search must all match', () => {
  assert.deepEqual(ids({}), [1, 2, 3]);
  assert.deepEqual(ids({ cluster: 'other' }), [2]);
  assert.deepEqual(ids({ zone: 'unknown' }), [3]);
  assert.deepEqual(ids({ label: 'role=web' }), [1]);
  assert.deepEqual(ids({ search: 'ROLE=' }), [1, 2]);
  assert.deepEqual(ids({ search: 'role= 10.0.0.1' }), [2]);
  assert.deepEqual(ids({ tile: 'draining' }), []);
  assert.equal(isFiltered({ ...DEFAULT_VIEW, cluster: 'other' }), false);
  assert.equal(isFiltered(unfiltered({ ...DEFAULT_VIEW, search: 'x', zone: 'y' })), false);
});

test('every column sorts in both directions, versions as numbers, unknown ones last', () => {
  assert.deepEqual(ids({ sort: 'agent' })[0], 3);
  assert.deepEqual(ids({ sort: 'agent', descending: true }).at(-1), 3);
  assert.deepEqual(ids({ sort: 'zone', descending: true }), [2, 1, 3]);
  assert.deepEqual(ids({ sort: 'address' }), [2, 1, 3]);
  for (const sort of SORT_FIELDS) assert.equal(ids({ sort }).length, 3);
});

test('a facet counts the nodes of the cluster, and the clusters those of all', () => {
  const { cluster, zone, label } = facetsOf(NODES, 'demo');
  assert.deepEqual(cluster, [
    { value: 'demo', count: 2 },
    { value: 'other', count: 1 },
  ]);
  assert.deepEqual(zone, [
    { value: 'unknown', count: 1 },
    { value: 'us-east-1a', count: 1 },
  ]);
  assert.deepEqual(label, [{ value: 'role=web', count: 1 }]);
});

test('the same question can be asked of the API', () => {
  for (const [view, path] of [
    [{}, '/v1/containerInstances?presence=all'],
    [{ cluster: 'demo', zone: 'us-east-1a', tile: 'critical' }, '?cluster=demo&az=us-east-1a&health=critical'],
    [{ tile: 'lost' }, '?presence=lost'],
    [{ tile: 'lost', label: 'role=web' }, '?selector=role%3Dweb&presence=lost'],
    [{ tile: 'present' }, '/v1/containerInstances'],
  ] as const) {
    const made = apiPath({ ...DEFAULT_VIEW, ...view });
    assert.ok(made.endsWith(path), made);
    assert.equal(parseRollQuery(new URLSearchParams(made.split('?')[1] ?? '')).ok, true, made);
  }
});
