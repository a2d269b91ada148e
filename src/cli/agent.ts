import { Command } from 'commander';
import {
  type AgentFlags,
  agentConfig,
  agentOptions,
  journalOption,
  type NotifyHow,
  notifyConfig,
  notifyOption,
} from '../config/agent-flags.ts';
import { storeOptions } from '../config/store-flags.ts';
import type { EcsSettings } from '../ecs/ecs-api.ts';
import { createCell } from '../lib/cell.ts';
import { openStore } from '../store/open-store.ts';
import { createLog, isOnJournal, type JournalHow } from './agent-log.ts';
import type { CliContext } from './context.ts';

const EXAMPLES = `
Every flag has a variable, so a unit needs no flags:
  ROLLCALL_STORE=etcd://10.0.0.1:2379,10.0.0.2:2379 rollcall agent

Exit status: 0 after SIGTERM or SIGINT, 2 for wrong usage, 3 if another agent
took over this node's registration, else 1.

Examples:
  rollcall agent --store etcd://127.0.0.1:2379
  rollcall agent --store etcds://etcd.internal:2379 \\
    --etcd-ca-file /etc/ssl/etcd/ca.pem --label role=node --label rack=3
  rollcall agent --store sqlite:/tmp/roll.db --listen 127.0.0.1:0 \\
    --log-level debug`;

interface Flags extends AgentFlags {
  readonly notify: NotifyHow;
  readonly journal: JournalHow;
}

export function agentCommand(context: CliContext): Command {
  const command = new Command('agent').description(
    'Publish this node and its health, and answer HTTP requests. The unit runs it on every node.',
  );
  for (const option of [...storeOptions(), ...agentOptions(context.env), notifyOption(), journalOption()]) {
    command.addOption(option);
  }
  return command.addHelpText('after', EXAMPLES).action(async (flags: Flags) => {
    // Loaded here, because the other commands need no server.
    const { runAgent } = await import('../agent/run-agent.ts');
    const { openProbes } = await import('../checks/run-probes.ts');
    const { openEcsApi } = await import('../ecs/open-ecs-api.ts');
    const { openNotifyChannel } = await import('../agent/systemd.ts');
    // By this name: the global `crypto` would load Web Crypto for it.
    const { randomUUID } = await import('node:crypto');
    const config = agentConfig(flags);
    const { clock, random, version, env, residentBytes, boardFile } = context;
    let instanceId: string | null = null;
    const log = createLog({
      clock,
      level: flags.logLevel,
      priorities: isOnJournal(flags.journal, context.env['JOURNAL_STREAM']),
      instanceId: () => instanceId,
    });
    // Node reaps only what it started itself.
    if (context.isProcess1 && config.checks.exec.length > 0) {
      log.warn(
        'this agent is process 1 of its container, and does not reap what the commands of --check-exec leave behind: write ROLLCALL_DOCKER_ARGS=--init, or docker run --init',
      );
    }
    const notify = openNotifyChannel(notifyConfig(flags.notify, context.env), context);
    const leaving = createCell(false);
    const opening = new AbortController();
    let restarting = false;
    context.onStopSignal((name) => {
      if (!leaving.get()) restarting = name === 'SIGUSR2';
      leaving.set(true);
      opening.abort(new Error(`ended by ${name}`));
    });
    const store = await openStore(config.store, { clock, random, signal: opening.signal, create: true }).catch(
      (error) => {
        // Opening may wait for a lock. Nothing is registered yet, so an agent that is stopped meanwhile has ended in order.
        if (leaving.get()) return null;
        throw error;
      },
    );
    if (store === null) return;
    const session = randomUUID();
    const { probes, close: closeProbes } = openProbes(config.checks, { clock, env, owner: session });
    try {
      const openEcs = (settings: EcsSettings) => openEcsApi(settings, context);
      const dependencies = {
        store,
        clock,
        random,
        log,
        version,
        session,
        leaving,
        restarting: () => restarting,
        probes,
        notify,
        openEcs,
        residentBytes,
        boardFile: boardFile ?? null,
        onInstanceId: (id: string) => {
          instanceId = id;
        },
      };
      await runAgent(config, dependencies, context.signal);
    } finally {
      await Promise.all([store.close(), closeProbes()]);
      log.flush();
    }
  });
}
