/**
 * A real agent in a process of its own, with limits of the connections that no flag has. Its `AgentConfig` is the first
 * argument, as JSON; its log goes to stdout.
 */

import { randomUUID } from 'node:crypto';
import type { AgentConfig } from '../../src/agent/agent-config.ts';
import { runAgent } from '../../src/agent/run-agent.ts';
import { openEcsApi } from '../../src/ecs/open-ecs-api.ts';
import { createCell } from '../../src/lib/cell.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createJsonLog } from '../../src/lib/log.ts';
import { openStore } from '../../src/store/open-store.ts';

const config: AgentConfig = JSON.parse(process.argv[2] ?? '');
const { signal } = new AbortController();
await runAgent(
  config,
  {
    store: await openStore(config.store, { clock: systemClock, random: Math.random, create: true, signal }),
    clock: systemClock,
    random: Math.random,
    log: createJsonLog({ isLogged: () => true, wallMs: Date.now, write: (line) => process.stdout.write(line) }),
    ...{ version: '1', session: randomUUID(), leaving: createCell(false), probes: [], notify: null },
    openEcs: (settings) => openEcsApi(settings, { clock: systemClock, env: process.env }),
    residentBytes: () => process.memoryUsage.rss(),
  },
  signal,
);
