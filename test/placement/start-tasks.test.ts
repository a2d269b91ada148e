import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EcsApi, Started } from '../../src/ecs/ecs-api.ts';
import { EcsError } from '../../src/ecs/ecs-errors.ts';
import { startBatches, startTasks } from '../../src/placement/start-tasks.ts';
import { sampleArn } from './sample-instance.ts';

const SIGNAL = new AbortController().signal;

/** An ECS that starts all tasks, until its `failAt`th call fails. */
function fakeEcs(failAt = Number.POSITIVE_INFINITY, error: unknown = null) {
  const calls: (readonly string[])[] = [];
  const startTask: EcsApi['startTask'] = async (_cluster, _taskDefinition, arns) => {
    calls.push(arns);
    if (calls.length === failAt) throw error;
    return {
      tasks: arns.map((containerInstanceArn) => ({ taskArn: `task-${calls.length}`, containerInstanceArn })),
      failures: [],
    };
  };
  return { calls, api: { startTask } as EcsApi };
}

test('each call has at most ten instances, none twice, and all calls together have all of them', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...'abcdefghijklm'), { maxLength: 60 }), (arns) => {
      const batches = startBatches(arns);
      for (const batch of batches) {
        assert.ok(batch.length >= 1 && batch.length <= 10);
        assert.equal(new Set(batch).size, batch.length);
      }
      assert.deepEqual(batches.flat().sort(), arns.toSorted());
    }),
  );
  assert.equal(startBatches(Array.from({ length: 25 }, (_, n) => String(n))).length, 3);
});

test('answers are passed on one by one, with their failures', async () => {
  const { api, calls } = fakeEcs();
  const seen: Started[] = [];
  const arns = Array.from({ length: 12 }, (_, n) => sampleArn(n));
  await startTasks(api, 'demo', 'web', arns, async (started) => void seen.push(started), SIGNAL);
  assert.deepEqual(calls, [arns.slice(0, 10), arns.slice(10)]);
  assert.deepEqual(
    seen.map(({ tasks }) => tasks.length),
    [10, 2],
  );
});

test('an instance that refused a task gets no further one; the others do', async () => {
  const { api, calls } = fakeEcs();
  const [full, open] = [sampleArn(1), sampleArn(2)];
  const startTask: EcsApi['startTask'] = async (cluster, definition, arns, signal) => {
    const answer = await api.startTask(cluster, definition, arns, signal);
    const failures = arns.filter((arn) => arn === full).map((arn) => ({ arn, reason: 'RESOURCE:CPU' }));
    return { tasks: answer.tasks.filter((task) => task.containerInstanceArn !== full), failures };
  };
  const seen: Started[] = [];
  const arns = [full, full, open, open, full];
  await startTasks({ ...api, startTask }, 'demo', 'web', arns, async (started) => void seen.push(started), SIGNAL);
  assert.deepEqual(calls, [[full, open], [open]]);
  assert.deepEqual(
    seen.flatMap(({ failures }) => failures),
    [{ arn: full, reason: 'RESOURCE:CPU' }],
  );
});

test('after a refused call no further call is made, and the error says how many tasks started', async () => {
  const denied = new EcsError('ecs:StartTask: AccessDeniedException: no', {
    code: 'AccessDeniedException',
    retryable: false,
  });
  const { api, calls } = fakeEcs(2, denied);
  const arns = Array.from({ length: 25 }, (_, n) => sampleArn(n));
  await assert.rejects(
    startTasks(api, 'demo', 'web:7', arns, async () => {}, SIGNAL),
    {
      exitCode: 1,
      message: 'start web:7: 10 of 25 tasks started',
      cause: denied,
    },
  );
  assert.equal(calls.length, 2);
});

test('a lost answer does not count as a refusal, and the call is not repeated', async () => {
  for (const code of ['NoAnswer', 'TimeoutError', 'ServerException', 'ServiceUnavailableException']) {
    const lost = new EcsError(`ecs:StartTask: ${code}`, { code, retryable: true });
    const { api, calls } = fakeEcs(1, lost);
    const taskDefinition = 'arn:aws:ecs:us-east-1:123456789012:task-definition/web:7';
    await assert.rejects(
      startTasks(api, 'demo', taskDefinition, [sampleArn(1)], async () => {}, SIGNAL),
      {
        message:
          /0 of 1 tasks started, and the next 1 may have started; check before you start them again \(aws ecs list-tasks --cluster demo --family web\)$/,
      },
    );
    assert.equal(calls.length, 1, code);
  }
});
