import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startWorld } from './start-agent.ts';

test('an agent says what its record leaves out, such as a label that is no word', async (t) => {
  const world = await startWorld(t);
  const agent = await world.startAgent({ config: { labels: { role: 'web', team: 'web servers' } } });
  const told = agent.log().filter((line) => line.startsWith('left out'));
  assert.deepEqual(told, ['left out of the record, since lists cannot show it: labels.team']);
});
