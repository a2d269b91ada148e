import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PassedOver } from '../../src/placement/judge-nodes.ts';
import { refusalText, renderPlacement, whyLine } from '../../src/placement/render.ts';
import { candidate, needs, resources, sampleArn } from './sample-instance.ts';

const over = (n: number, test: PassedOver['test'], reason: string): PassedOver => ({
  instanceId: `i-0000000${n}`,
  containerInstanceArn: sampleArn(n),
  privateIpAddress: null,
  test,
  reason,
});

test('the closest node is the one that passed the most tests, in any order of the nodes', () => {
  const passedOver = [over(1, 'roll', 'lost'), over(2, 'room', 'too small'), over(3, 'health', 'critical')];
  for (const order of [passedOver, passedOver.toReversed()]) {
    assert.equal(
      refusalText({ cluster: 'demo', needs: needs(512, 256), count: 1, room: 0, passedOver: order }),
      'no room in demo for a task of 256 CPU units and 512 MiB: none of its 3 nodes is suitable; closest: i-00000002: too small; --why explains each node',
    );
  }
  assert.match(
    refusalText({ cluster: 'demo', needs: needs(512, 256, [80]), count: 2, room: 0, passedOver: [] }),
    /for 2 tasks, each of 256 CPU units, 512 MiB and port 80: the cluster has no container instance$/,
  );
});

test('a reason from a record cannot add lines or control the terminal', () => {
  const line = whyLine(over(1, 'health', `disk \u001b[31m\nrollcall: all is well ${'x'.repeat(1_000)}`));
  assert.doesNotMatch(line, /\p{Cc}/u);
  assert.ok(line.length <= 400);
});

test('ndjson has one line per task; JSON has the passed-over nodes only with --why', () => {
  const placements = [candidate(1, resources(1)), candidate(1, resources(1))];
  const report = { cluster: 'demo', needs: needs(1), placements, passedOver: null, started: null };
  const place = { containerInstanceArn: sampleArn(1), ec2InstanceId: 'i-00000001', privateIpAddress: '10.0.0.1' };
  assert.equal(renderPlacement('ndjson', report), `${JSON.stringify(place)}\n`.repeat(2));
  assert.deepEqual(JSON.parse(renderPlacement('json', report)), {
    cluster: 'demo',
    needs: needs(1),
    placements: [place, place],
  });
  const started = { tasks: [{ taskArn: 't', containerInstanceArn: sampleArn(1) }], failures: [] };
  const whole = JSON.parse(renderPlacement('json', { ...report, passedOver: [over(2, 'roll', 'lost')], started }));
  assert.deepEqual([whole.tasks, whole.failures, whole.passedOver.length], [started.tasks, [], 1]);
});
