import { Command } from 'commander';
import type { AgentConfig } from '../agent/agent-config.ts';
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
import { misspeltVariables, unusableCluster } from '../config/unused-variables.ts';
import type { EcsSettings } from '../ecs/ecs-api.ts';
import { createCell } from '../lib/cell.ts';
import { quote } from '../lib/errors.ts';
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

/** @param all every command of the program */
export function agentCommand(context: CliContext, all: () => readonly Command[]): Command {
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
    const isDockerChecked = probes.some(({ name }) => name === 'docker');
    for (const note of settingNotes(command, config, context, isDockerChecked, all)) log.warn(note);
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

/**
 * What an agent says at its start of settings that do not do what they are for: one line each. None of them keeps a node
 * off the roll.
 * @param isDockerChecked whether the agent has found docker's socket @param all every command of the program
 */
function settingNotes(
  command: Command,
  config: AgentConfig,
  { env, isProcess1 }: CliContext,
  isDockerChecked: boolean,
  all: () => readonly Command[],
): string[] {
  const has = (one: Command, name: string) => one.options.some(({ envVar }) => envVar === name);
  // The other commands are made only for a variable that this one does not have: in the unit there is none.
  const isKnown = (name: string) => has(command, name) || all().some((one) => has(one, name));
  const notes = [misspeltVariables(env, isKnown), unusableCluster(env, config.cluster)];
  const { dockerSocket, exec } = config.checks;
  // Where the default path has no socket, docker is not mounted, as in the unit.
  if (dockerSocket !== null && !isDockerChecked && command.getOptionValueSource('dockerSocket') !== 'default')
    notes.push(
      `docker is not checked: ${quote(dockerSocket)} is no socket where the agent runs; in a container, mount it, then restart the agent`,
    );
  // Node reaps only what it started itself.
  if (isProcess1 && exec.length > 0)
    notes.push(
      'this agent is process 1 of its container, and does not reap what the commands of --check-exec leave behind: write ROLLCALL_DOCKER_ARGS=--init, or docker run --init',
    );
  return notes.filter((note) => note !== null);
}
