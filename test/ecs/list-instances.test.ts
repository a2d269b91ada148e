import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Described, EcsApi, Page } from '../../src/ecs/ecs-api.ts';
import { EcsError } from '../../src/ecs/ecs-errors.ts';
import {
  disconnectedInstances,
  enumerateInstances,
  sayUnexpected,
  unexpectedFailure,
} from '../../src/ecs/list-instances.ts';

const SIGNAL = new AbortController().signal;
const numbers = (from: number, count: number) => Array.from({ length: count }, (_, n) => String(from + n));

/** The list and describe calls of the API, with a trace of the requests. */
function apiOf(pages: (page: string | null) => Page, clusters: readonly string[] = []) {
  const asked: string[] = [];
  const part: Partial<EcsApi> = {
    listClusters: async () => ({ arns: clusters, next: null }),
    listContainerInstances: async (cluster, page) => {
      asked.push(`list ${cluster} ${page}`);
      return pages(page);
    },
    describeContainerInstances: async (cluster, arns) => {
      asked.push(`describe ${arns.length}`);
      const instances = arns.filter((arn) => arn !== 'gone').map((arn) => ({ containerInstanceArn: arn, cluster }));
      const failures = arns.includes('gone') ? [{ arn: 'gone', reason: 'MISSING' }] : [];
      return { instances, failures } as unknown as Described;
    },
  };
  return { api: part as EcsApi, asked };
}

test('all pages are read, and an instance that moved between pages is described once', async () => {
  const pages = (page: string | null) =>
    page === null ? { arns: numbers(0, 100), next: 'more' } : { arns: numbers(99, 51), next: null };
  const { api, asked } = apiOf(pages);
  const { clusters, instances } = await enumerateInstances(api, ['demo'], SIGNAL);
  assert.deepEqual(
    instances.map(({ containerInstanceArn }) => containerInstanceArn),
    numbers(0, 150),
  );
  assert.deepEqual(asked, ['list demo null', 'list demo more', 'describe 100', 'describe 50']);
  assert.deepEqual(clusters, ['demo']);
});

test('an empty cluster is not described', async () => {
  const { api, asked } = apiOf(() => ({ arns: [], next: null }));
  assert.deepEqual((await enumerateInstances(api, ['demo'], SIGNAL)).instances, []);
  assert.deepEqual(asked, ['list demo null']);
});

test('without a cluster argument all clusters of the region are read, by name', async () => {
  const { api, asked } = apiOf(() => ({ arns: ['gone'], next: null }), ['arn:c:cluster/a', 'arn:c:cluster/b']);
  const { clusters, instances } = await enumerateInstances(api, null, SIGNAL);
  assert.deepEqual([clusters, instances], [['a', 'b'], []]);
  assert.deepEqual(
    asked.filter((line) => line.startsWith('list')),
    ['list arn:c:cluster/a null', 'list arn:c:cluster/b null'],
  );
});

test('of all clusters a deleted one is left out; a named cluster that is missing is an error', async () => {
  const { api } = apiOf(() => ({ arns: ['a'], next: null }), ['arn:c:cluster/old', 'arn:c:cluster/live']);
  const { listContainerInstances } = api;
  let code = 'ClusterNotFoundException';
  const some: EcsApi = {
    ...api,
    listContainerInstances: async (cluster, page, signal) => {
      if (cluster.endsWith('old')) throw new EcsError('no', { code, retryable: false });
      return listContainerInstances(cluster, page, signal);
    },
  };
  const { clusters, instances } = await enumerateInstances(some, null, SIGNAL);
  assert.deepEqual([clusters, instances.length], [['live'], 1]);
  await assert.rejects(enumerateInstances(some, ['old'], SIGNAL), { code });
  code = 'AccessDeniedException';
  await assert.rejects(enumerateInstances(some, null, SIGNAL), { code });
});

const describing = (reason: string): EcsApi['describeContainerInstances'] => {
  return async () =>
    ({ instances: [{ containerInstanceArn: 'a' }], failures: [{ arn: 'b', reason }] }) as unknown as Described;
};

test('an instance that ECS lists and does not answer for makes the whole list fail', async () => {
  const { api } = apiOf(() => ({ arns: ['a', 'b'], next: null }));
  const describeContainerInstances = describing('UNANSWERED');
  await assert.rejects(enumerateInstances({ ...api, describeContainerInstances }, ['demo'], SIGNAL), {
    code: 'PartialAnswer',
    message: 'describe b: no answer',
  });
});

test('an instance that ECS refuses for an unknown reason counts as missing and is named', async () => {
  const { api } = apiOf(() => ({ arns: ['a', 'b'], next: null }));
  const named: unknown[] = [];
  const describeContainerInstances = describing('SHARD_AWAY');
  const { instances } = await enumerateInstances({ ...api, describeContainerInstances }, ['demo'], SIGNAL, (failure) =>
    named.push(unexpectedFailure(failure)),
  );
  assert.equal(instances.length, 1);
  assert.deepEqual(named, ['ECS does not describe b: SHARD_AWAY; it counts as missing']);
});

test('each such instance is named once, however often it is read, and not thousands of them', () => {
  const said: string[] = [];
  const say = sayUnexpected((line) => said.push(line));
  for (let reading = 0; reading < 3; reading += 1) {
    for (let n = 0; n < 300; n += 1) say({ arn: `arn:${n}`, reason: 'SHARD_AWAY' });
  }
  assert.deepEqual([said.length, new Set(said).size], [101, 101]);
  assert.equal(said[0], 'ECS does not describe arn:0: SHARD_AWAY; it counts as missing');
  assert.equal(said.at(-1), 'ECS does not describe more container instances, which are not named');
});

test('a list that never ends is an error', async () => {
  const { api } = apiOf(() => ({ arns: [], next: 'again' }));
  await assert.rejects(enumerateInstances(api, ['demo'], SIGNAL), (error: EcsError) => {
    assert.equal(error.code, 'NoEnd');
    return /container instances of demo: more than 1000 pages; check/.test(error.message);
  });
});

test('the disconnected instances are those that ECS lists as such and describes as such, in service', async () => {
  const filters: unknown[] = [];
  const of = (arn: string, status: string, agentConnected: boolean) => ({
    containerInstanceArn: arn,
    status,
    agentConnected,
  });
  const described = [
    of('a', 'ACTIVE', false),
    of('b', 'DRAINING', false),
    of('c', 'DEREGISTERING', false),
    of('d', 'REGISTERING', false),
    // From an endpoint that does not know the filter, or connected again since the list.
    of('e', 'ACTIVE', true),
  ];
  const part: Partial<EcsApi> = {
    listContainerInstances: async (_, page, __, filter) => {
      filters.push(filter);
      return page === null ? { arns: ['a', 'b', 'c'], next: 'more' } : { arns: ['d', 'e'], next: null };
    },
    describeContainerInstances: async () => ({ instances: described, failures: [] }) as unknown as Described,
  };
  const { clusters, instances } = await disconnectedInstances(part as EcsApi, ['demo'], [], SIGNAL);
  assert.deepEqual(clusters, ['demo']);
  assert.deepEqual(
    instances.map(({ containerInstanceArn }) => containerInstanceArn),
    ['a', 'b'],
  );
  assert.deepEqual(filters, ['agentConnected == false', 'agentConnected == false']);
});

test('of what was disconnected before, what ECS no longer has in service is gone, and what it lists no more is connected', async () => {
  const arn = (id: string, cluster = 'demo') =>
    `arn:aws:ecs:us-east-1:123456789012:container-instance/${cluster}/${id.repeat(32)}`;
  const of = (id: string, status: string, agentConnected: boolean) => ({
    ...{ containerInstanceArn: arn(id), status, agentConnected },
  });
  const described = [
    of('a', 'ACTIVE', false),
    of('b', 'ACTIVE', true),
    of('c', 'INACTIVE', false),
    of('d', 'DEREGISTERING', false),
  ];
  const asked: (readonly string[])[] = [];
  const part: Partial<EcsApi> = {
    listContainerInstances: async () => ({ arns: [arn('a')], next: null }),
    describeContainerInstances: async (_, arns) => {
      asked.push(arns);
      return {
        instances: described.filter((each) => arns.includes(each.containerInstanceArn)),
        failures: arns.includes(arn('e')) ? [{ arn: arn('e'), reason: 'MISSING' }] : [],
      } as unknown as Described;
    },
  };
  // Not those of a cluster that is not asked about, or that an ARN of the older form does not name, nor what is no ARN.
  const known = [...'abcde']
    .map((id) => arn(id))
    .concat(
      arn('f', 'other'),
      `arn:aws:ecs:us-east-1:123456789012:container-instance/${'a'.repeat(32)}`,
      `${arn('a')} x`,
    );
  const cluster = 'arn:aws:ecs:us-east-1:123456789012:cluster/demo';
  const { instances, gone } = await disconnectedInstances(part as EcsApi, [cluster], known, SIGNAL);
  assert.deepEqual(
    instances.map((each) => each.containerInstanceArn),
    [arn('a')],
  );
  assert.deepEqual(gone, [arn('c'), arn('d'), arn('e')]);
  assert.deepEqual(asked, [[...'abcde'].map((id) => arn(id))], 'in one request');
});
