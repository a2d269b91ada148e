import assert from 'node:assert/strict';
import { test } from 'node:test';
import { outdatedLines, outdatedSessions } from '../../scripts/lib/outdated-agents.ts';
import { sampleNode } from './sample-node.ts';

const OLD = '[Service]\nExecStart=/bin/true\n';
const NEW = '[Service]\nExecStart=/bin/true --new\n';

test('who is present when a unit is deployed does not speak for it, also when only a comment of it changes', () => {
  const roll = [
    sampleNode({ sidecar: { session: 'here' } }),
    sampleNode({ sidecar: { session: 'gone' }, presence: { state: 'lost' } }),
  ];
  const lines = outdatedLines(roll, NEW).join('\n');
  assert.deepEqual([...outdatedSessions(lines, NEW)], ['here']);
  assert.deepEqual([...outdatedSessions(lines, `# why\n${NEW}`)], ['here']);
});

test('who goes back to the unit from before may count the agents that run it', () => {
  const lines = outdatedLines([sampleNode()], NEW).join('\n');
  assert.deepEqual([...outdatedSessions(lines, OLD)], []);
});

test('a file that is empty or cut short outdates nobody', () => {
  for (const lines of ['', '\n', 'garbage', '\0']) assert.equal(outdatedSessions(lines, NEW).size, 0);
});
