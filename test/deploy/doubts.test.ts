import assert from 'node:assert/strict';
import { test } from 'node:test';
import { doubts } from '../../scripts/lib/doubts.ts';
import { muster } from '../../scripts/lib/muster.ts';
import type { RollNode } from '../../scripts/lib/roll-node.ts';
import { sampleNode } from './sample-node.ts';

const of = (changes: Partial<RollNode>, cluster: string | null = 'demo', region: string | null = 'us-east-1') =>
  doubts(muster([{ id: 'a'.repeat(32), address: '10.113.0.23' }], [sampleNode(changes)], new Set()), {
    cluster,
    region,
  });

test('a correct machine gives no note', () => {
  assert.deepEqual(of({}), []);
  assert.deepEqual(of({}, null, null), []);
  assert.deepEqual(of({ privateIpAddress: '10.0.0.9', publicIpAddress: '10.113.0.23' }), []);
});

test('each thing to check gives a note with its machine', () => {
  assert.match(
    of({ cluster: 'Cosmos-Dev' })[0] ?? '',
    /^10\.113\.0\.23 \(machine a{32}\) is in cluster Cosmos-Dev, not demo/,
  );
  assert.match(of({}, 'demo', 'us-west-2')[0] ?? '', /is in cluster demo of us-east-1, not us-west-2: .*AWS_REGION/);
  assert.match(of({ containerInstanceArn: null })[0] ?? '', /no container instance yet/);
  assert.match(of({ privateIpAddress: '10.0.0.9' })[0] ?? '', /answers as 10\.0\.0\.9/);
  assert.match(of({ health: { status: 'critical' } })[0] ?? '', /is critical$/);
});
