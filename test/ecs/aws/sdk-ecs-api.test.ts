import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import type { EcsSettings } from '../../../src/ecs/ecs-api.ts';
import type { EcsError } from '../../../src/ecs/ecs-errors.ts';
import { openEcsApi } from '../../../src/ecs/open-ecs-api.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { arnOf, type EcsEndpoint, ecsFailure, ecsOf, startEcsEndpoint } from '../../support/ecs-endpoint.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

const OWN = { AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret', AWS_EC2_METADATA_DISABLED: 'true' };
const before_ = { ...process.env };
before(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  Object.assign(process.env, OWN, { AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null' });
});
after(() => {
  process.env = before_;
});

const live = () => new AbortController().signal;

/** The real SDK against a local endpoint. */
async function apiAt(
  t: TestContext,
  answer: EcsEndpoint['answer'],
  clock: Clock = systemClock,
  more: Partial<EcsSettings> = {},
) {
  const endpoint = await startEcsEndpoint(t, answer);
  process.env['AWS_ENDPOINT_URL_ECS'] = endpoint.url;
  const api = await openEcsApi({ region: 'us-east-1', profile: null, ...more }, { clock, env: process.env });
  t.after(() => api.close());
  return { api, endpoint };
}

const coded = (code: string, pattern: RegExp, retryable: boolean) => (error: EcsError) => {
  assert.equal(error.name, 'EcsError');
  assert.equal(error.code, code, error.message);
  assert.match(error.message, pattern);
  assert.equal(error.retryable, retryable, error.message);
  assert.doesNotMatch(error.message, /\n|\.$|Deserialization/);
  return true;
};

test('calls go to the endpoint in the environment, signed, with pages of 100', async (t) => {
  const { api, endpoint } = await apiAt(t, ecsOf({ demo: 150 }));
  const first = await api.listContainerInstances('demo', null, live());
  assert.equal(first.arns.length, 100);
  const second = await api.listContainerInstances('demo', first.next, live());
  assert.deepEqual([second.arns.length, second.next], [50, null]);
  assert.match(endpoint.requests[0]?.headers.authorization ?? '', /Credential=AKIDEXAMPLE\/\d+\/us-east-1\/ecs\//);
  assert.equal(api.label, `ECS in us-east-1 at ${endpoint.url}`);
});

test('the clock of this machine is compared with the Date of each answer, also of a refusal', async (t) => {
  const wallMs = () => Date.parse('2026-01-01T12:00:00Z');
  const answers = [undefined, 'Thu, 01 Jan 2026 11:00:00 GMT', 'Thu, 01 Jan 2026 12:01:00 GMT', 'soon'];
  const { api, endpoint } = await apiAt(t, () => ({}), { ...systemClock, wallMs });
  const skews: unknown[] = [api.clockSkewMs?.()];
  for (const date of answers) {
    endpoint.answer = () => (response) => {
      response.sendDate = false;
      if (date !== undefined) response.setHeader('date', date);
      ecsFailure('AccessDeniedException', 'denied')(response);
    };
    await assert.rejects(api.listClusters(null, live()));
    skews.push(api.clockSkewMs?.());
  }
  assert.deepEqual(skews, [null, null, 3_600_000, -60_000, -60_000]);
});

test('an instance is described with valid ports only, and a deleted one is a failure', async (t) => {
  const { api } = await apiAt(t, ecsOf({ demo: 1 }));
  const gone = arnOf('demo', 7);
  const { instances, failures } = await api.describeContainerInstances('demo', [arnOf('demo', 0), gone], live());
  assert.deepEqual(failures, [{ arn: gone, reason: 'MISSING' }]);
  const [instance] = instances;
  assert.equal(instance?.registeredAt, '2026-09-21T14:13:20.500Z');
  assert.deepEqual(instance?.remaining, {
    cpuUnits: 1_024,
    memoryMiB: 2_000,
    ports: [22, 51_678, 8_080],
    portsUdp: [53],
  });
  assert.deepEqual(instance?.attributes.at(-1), { name: 'ecs.capability.apparmor', value: null });
  assert.deepEqual([instance?.cluster, instance?.agentConnected], ['demo', true]);
});

test('calls that change ECS send the right input', async (t) => {
  const { api, endpoint } = await apiAt(t, ({ action }) =>
    action === 'StartTask'
      ? { tasks: [], failures: [{ arn: 'a', reason: 'RESOURCE:CPU' }] }
      : { containerInstances: [] },
  );
  const arn = arnOf('demo', 0);
  const updated = await api.updateContainerInstancesState('demo', [arn], 'DRAINING', live());
  assert.deepEqual(updated, { instances: [], failures: [{ arn, reason: 'UNANSWERED' }] });
  await api.putAttributes(
    'demo',
    arn,
    [
      { name: 'a', value: 'b' },
      { name: 'c', value: null },
    ],
    live(),
  );
  await api.deleteAttributes('demo', arn, ['a'], live());
  const started = await api.startTask('demo', 'web:3', [arn], live());
  assert.deepEqual(started.failures[0], { arn: 'a', reason: 'RESOURCE:CPU' });
  const target = { targetId: arn };
  assert.deepEqual(
    endpoint.requests.map(({ action, input }) => [action, input]),
    [
      ['UpdateContainerInstancesState', { cluster: 'demo', containerInstances: [arn], status: 'DRAINING' }],
      [
        'PutAttributes',
        {
          cluster: 'demo',
          attributes: [
            { ...target, name: 'a', value: 'b' },
            { ...target, name: 'c' },
          ],
        },
      ],
      ['DeleteAttributes', { cluster: 'demo', attributes: [{ ...target, name: 'a' }] }],
      ['StartTask', { cluster: 'demo', taskDefinition: 'web:3', containerInstances: [arn] }],
    ],
  );
});

test('a throttled call is retried until it succeeds', async (t) => {
  const { api, endpoint } = await apiAt(t, () =>
    endpoint.requests.length < 3 ? ecsFailure('ThrottlingException', 'Rate exceeded') : { clusterArns: [] },
  );
  assert.deepEqual(await api.listClusters(null, live()), { arns: [], next: null });
  assert.equal(endpoint.requests.length, 3);
});

test('a call that stays throttled fails after 4 attempts', async (t) => {
  const { api, endpoint } = await apiAt(t, () => ecsFailure('ThrottlingException', 'Rate exceeded'));
  await assert.rejects(api.listClusters(null, live()), coded('ThrottlingException', /Rate exceeded; AWS limits/, true));
  assert.equal(endpoint.requests.length, 4);
});

test('the rate limit also applies to the SDK’s retries', async (t) => {
  const sentMs: number[] = [];
  const answer = () => {
    sentMs.push(performance.now());
    return ecsFailure('ServerException', 'Service Unavailable.', 500);
  };
  const { api } = await apiAt(t, answer, systemClock, { requestsPerSecond: 2 });
  await assert.rejects(Promise.all([api.listClusters(null, live()), api.listClusters(null, live())]));
  for (let wait = 0; sentMs.length < 8 && wait < 100; wait += 1) await new Promise((next) => setTimeout(next, 100));
  assert.equal(sentMs.length, 8);
  // With the rate they are sent 500 ms apart, without it all within a second. The last delays depend on the machine.
  assert.ok((sentMs.at(-1) ?? 0) - (sentMs[0] ?? 0) >= 2_500, sentMs.map(Math.round).join());
});

test('StartTask is never sent twice, whether its answer is lost or a failure', async (t) => {
  for (const lost of [
    (response: Parameters<ReturnType<typeof ecsFailure>>[0]) => response.destroy(),
    ecsFailure('ServerException', 'Service Unavailable.', 500),
  ]) {
    const { api, endpoint } = await apiAt(t, () => lost);
    await assert.rejects(api.startTask('demo', 'web', [arnOf('demo', 0)], live()), /the task may have started; check/);
    assert.equal(endpoint.requests.length, 1);
  }
});

test('an answer that is not from ECS is an error and never an empty list', async (t) => {
  const bodies = ['', 'null', '[1]', '{}', '{"clusterArns":"abc"}', '{"clusterArns":[null]}', '{"clusterArns":[""]}'];
  for (const body of [...bodies, '<html>log in</html>', '{"clusterArns":[']) {
    const { api } = await apiAt(t, () => (response) => void response.end(body));
    const pattern = /^ecs:ListClusters in us-east-1: the answer of http:\S+( \(HTTP 200\))? is not from ECS/;
    await assert.rejects(api.listClusters(null, live()), coded('BadAnswer', pattern, false), body);
  }
  const { api } = await apiAt(t, () => ({ containerInstances: [{ status: 'ACTIVE' }] }));
  const pattern = /it has no ARN/;
  await assert.rejects(api.describeContainerInstances('demo', [], live()), coded('BadAnswer', pattern, false));
});

test('an endless answer is not read to its end', async (t) => {
  let sentBytes = () => 0;
  const { api, endpoint } = await apiAt(t, () => (response) => {
    const { socket } = response;
    sentBytes = () => socket?.bytesWritten ?? 0;
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(65_536)));
    };
    response.on('drain', more).on('error', () => {});
    more();
  });
  await assert.rejects(api.listClusters(null, live()), coded('BadAnswer', /longer than 8 MiB/, false));
  assert.equal(endpoint.requests.length, 1);
  // Some of the sent bytes are still in the connection's buffers.
  assert.ok(sentBytes() > 8_000_000 && sentBytes() < 32_000_000, String(sentBytes()));
});

test('the error for a truncated answer names the endpoint', async (t) => {
  const { api, endpoint } = await apiAt(t, () => (response) => {
    response.writeHead(200, { 'content-length': '1000' }).write('{"clusterArns":[');
    setImmediate(() => response.destroy());
  });
  const pattern = new RegExp(`${endpoint.url} closed the connection before the end of its answer \\(ECONNRESET\\)`);
  await assert.rejects(api.listClusters(null, live()), coded('NoAnswer', pattern, true));
});

test('the error for a refused connection names the endpoint', async (t) => {
  const env = { ...process.env, AWS_ENDPOINT_URL_ECS: 'http://127.0.0.1:1' };
  const api = await openEcsApi({ region: 'us-east-1', profile: null }, { clock: systemClock, env });
  t.after(() => api.close());
  const pattern = /connection refused by http:\/\/127.0.0.1:1 \(ECONNREFUSED\); check the network/;
  await assert.rejects(api.listClusters(null, live()), coded('NoAnswer', pattern, true));
});

test('an aborted call ends at once with the signal’s reason', async (t) => {
  const { api } = await apiAt(t, () => () => {});
  const caller = new AbortController();
  const asked = api.listClusters(null, caller.signal);
  const reason = new Error('enough');
  setImmediate(() => caller.abort(reason));
  await assert.rejects(asked, (error) => error === reason);
  await assert.rejects(api.listClusters(null, caller.signal), (error) => error === reason);
});

test('an answer that does not come is a failure after 10 s', async (t) => {
  // The simulated clock does not advance, so only the SDK's own limit can end the call.
  const { api } = await apiAt(t, () => () => {}, simulatedClock());
  const pattern = /no answer in time from http:.*may have started/;
  await assert.rejects(api.startTask('demo', 'web', [arnOf('demo', 0)], live()), coded('NoAnswer', pattern, true));
});

test('a whole call, with its attempts and pauses, ends within 60 s', async (t) => {
  const clock = simulatedClock();
  const { api, endpoint } = await apiAt(t, () => () => {}, clock);
  const asked = assert.rejects(api.listClusters(null, live()), coded('NoAnswer', /no answer in time/, true));
  while (endpoint.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(59_999);
  assert.equal(clock.sleepers(), 1);
  await clock.advance(1);
  await asked;
});
