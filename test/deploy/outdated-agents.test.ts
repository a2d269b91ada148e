import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outdatedLines, outdatedSessions } from '../../scripts/lib/outdated-agents.ts';
import { sampleNode } from './sample-node.ts';

const OLD = '[Service]\nExecStart=/bin/true\n';
const NEW = '[Service]\nExecStart=/bin/true --new\n';

test('agents present before a deployment are outdated for its unit, also with other comments in it', () => {
  const roll = [
    sampleNode({ sidecar: { session: 'here' } }),
    sampleNode({ sidecar: { session: 'gone' }, presence: { state: 'lost' } }),
  ];
  const lines = outdatedLines(roll, NEW).join('\n');
  assert.deepEqual([...outdatedSessions(lines, NEW)], ['here']);
  assert.deepEqual([...outdatedSessions(lines, `# why\n${NEW}`)], ['here']);
});

test('after a return to the old unit its agents count again', () => {
  const lines = outdatedLines([sampleNode()], NEW).join('\n');
  assert.deepEqual([...outdatedSessions(lines, OLD)], []);
});

test('an empty or truncated file makes no agent outdated', () => {
  for (const lines of ['', '\n', 'garbage', '\0']) assert.equal(outdatedSessions(lines, NEW).size, 0);
});
