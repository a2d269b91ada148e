import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { AgentConfig } from '../../src/agent/agent-config.ts';
import { createEcsWork } from '../../src/agent/ecs-work.ts';
import { createCell } from '../../src/lib/cell.ts';
import type { DrainSlots } from '../../src/store/drain-slots.ts';
import { silentLog } from '../support/kept-log.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

test('a loop that broke says so for as long as the agent runs, and ends nothing', async () => {
  const broken = () => {
    throw new Error('broken');
  };
  const drain = { on: ['critical'], criticalAfterMs: 1, maxSharePercent: 10 };
  const config = { drain, ecsAttributes: true, ecs: { region: null, profile: null } } as unknown as AgentConfig;
  const work = createEcsWork(config, {
    ...{ clock: simulatedClock(), random: Math.random, log: silentLog, session: 's' },
    ...{ slots: {} as DrainSlots, openEcs: broken, leaving: createCell(false), noticesKnown: broken },
    desired: { get: broken, set: broken, onChange: () => () => {} },
  });
  const stop = new AbortController();
  let ended = 0;
  const running = work.loops.map((loop) => loop(stop.signal).finally(() => (ended += 1)));
  await turn();
  const reason = 'stopped until the agent is restarted: broken';
  assert.equal(work.drain()?.reason, reason);
  assert.deepEqual(work.attributes(), { state: 'failing', reason, lastWrite: null });
  assert.equal(ended, 0);
  stop.abort(new Error('the test ended'));
  await Promise.allSettled(running);
});
