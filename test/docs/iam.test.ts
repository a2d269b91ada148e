import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(`${ROOT}/${path}`, 'utf8');
const POLICIES = readdirSync(`${ROOT}/docs/iam`).filter((name) => name.endsWith('.json'));

/**
 * The resource type each action can be limited to, null for none, as far as anything here may ever need it.
 * https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
 */
const RESOURCE_OF: Record<string, 'cluster' | 'container-instance' | 'task-definition' | null> = {
  'ecs:CreateCluster': 'cluster',
  'ecs:DeleteAttributes': 'container-instance',
  'ecs:DescribeClusters': 'cluster',
  'ecs:DescribeContainerInstances': 'container-instance',
  'ecs:DiscoverPollEndpoint': null,
  'ecs:ListClusters': null,
  'ecs:DescribeTaskDefinition': null,
  'ecs:ListContainerInstances': 'cluster',
  'ecs:Poll': 'container-instance',
  'ecs:PutAttributes': 'container-instance',
  'ecs:RegisterContainerInstance': 'cluster',
  'ecs:StartTask': 'task-definition',
  'ecs:StartTelemetrySession': 'container-instance',
  'ecs:SubmitAttachmentStateChanges': 'cluster',
  'ecs:SubmitContainerStateChange': 'cluster',
  'ecs:SubmitTaskStateChange': 'cluster',
  'ecs:UpdateContainerInstancesState': 'container-instance',
};

interface Statement {
  readonly Sid: string;
  readonly Effect: string;
  readonly Action: string | readonly string[];
  readonly Resource: string;
  readonly Condition?: unknown;
}

const statements = (name: string): Statement[] => JSON.parse(read(`docs/iam/${name}`)).Statement;
const actions = (name: string) => statements(name).flatMap(({ Action }) => Action);
const CLUSTER = 'arn:aws:ecs:REGION:ACCOUNT:cluster/CLUSTER';

test('there are policies', () => {
  assert.ok(POLICIES.length >= 3, POLICIES.join(', '));
});

for (const name of POLICIES) {
  test(`${name} allows known actions only, each no further than the cluster`, () => {
    assert.equal(JSON.parse(read(`docs/iam/${name}`)).Version, '2012-10-17');
    for (const { Effect, Action, Resource, Condition } of statements(name)) {
      assert.equal(Effect, 'Allow');
      for (const action of [Action].flat()) {
        const kind = RESOURCE_OF[action];
        assert.notEqual(kind, undefined, `${action} is unknown`);
        const within = { ArnEquals: { 'ecs:cluster': CLUSTER } };
        const expected = {
          cluster: [CLUSTER, undefined],
          'container-instance': ['arn:aws:ecs:REGION:ACCOUNT:container-instance/*', within],
          'task-definition': ['arn:aws:ecs:REGION:ACCOUNT:task-definition/*', within],
          none: ['*', undefined],
        }[kind ?? 'none'];
        assert.deepEqual([Resource, Condition], expected, action);
      }
    }
    const all = actions(name);
    assert.equal(new Set(all).size, all.length, 'no action twice');
  });

  test(`${name} is explained`, () => {
    assert.ok(read('docs/iam/README.md').includes(`](${name})`));
  });
}

test('deploy.json allows what the scripts call and nothing else', () => {
  const scripts = ['deploy', 'undeploy', ...readdirSync(`${ROOT}/scripts/lib`).map((name) => `lib/${name}`)];
  const calls = scripts.flatMap((path) => [...read(`scripts/${path}`).matchAll(/(?:bounded|ask) aws ecs ([a-z-]+)/g)]);
  const called = calls.map(
    ([, command = '']) => `ecs:${command.replace(/(?:^|-)([a-z])/g, (_, c) => c.toUpperCase())}`,
  );
  assert.deepEqual(called.sort(), [...actions('deploy.json')].sort());
});
