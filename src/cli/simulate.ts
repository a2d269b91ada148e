import { Command, Option } from 'commander';
import { integerBetween } from '../config/flags.ts';
import { storeOptions } from '../config/store.ts';
import { MAX_CLUSTERS, MAX_NODES } from '../simulator/limits.ts';
import type { CliContext } from './context.ts';
import type { SimulateFlags } from './run-simulation.ts';

const EXAMPLES = `
Each node gets an environment file; an agent started with it believes it runs on that node. Faults and notices are
switched over HTTP while it runs (the address is printed).

Examples:
  rollcall simulate --nodes 3 --dir /tmp/sim
  env $(cat /tmp/sim/node-1.env) rollcall agent --store sqlite:/tmp/sim/roll.db
  rollcall simulate --nodes 3 --agents --store sqlite:/tmp/roll.db
  curl -X PUT -d '{"introspection":"refuse"}' http://127.0.0.1:PORT/nodes/INSTANCE/faults
  rollcall simulate --nodes 3 --ecs --dir /tmp/sim
  env $(cat /tmp/sim/ecs.env) rollcall list --source ecs --cluster demo
  curl -X PUT -d '{"ListClusters":"throttle"}' http://127.0.0.1:PORT/ecs/faults`;

export function simulateCommand(context: CliContext): Command {
  const command = new Command('simulate')
    .description(
      'Simulated nodes on loopback: EC2 metadata, ecs-agent introspection and the ECS API, with fault switches.',
    )
    .addOption(
      new Option('--nodes <n>', 'how many').env('ROLLCALL_NODES').default(3).argParser(integerBetween(1, MAX_NODES)),
    )
    .addOption(new Option('--cluster <name>', 'their ECS cluster').env('ROLLCALL_CLUSTER').default('demo'))
    .addOption(
      new Option('--clusters <n>', 'how many: the nodes go round NAME, NAME-2, NAME-3 …')
        .env('ROLLCALL_CLUSTERS')
        .default(1)
        .argParser(integerBetween(1, MAX_CLUSTERS)),
    )
    .addOption(
      new Option('--ecs', 'also serve an ECS endpoint that knows the nodes').env('ROLLCALL_ECS').default(false),
    )
    .addOption(
      new Option('--base-port <port>', 'first of the ports: control, two for each node, ECS; 0 takes free ones')
        .env('ROLLCALL_BASE_PORT')
        .default(0)
        .argParser(integerBetween(0, 65_535)),
    )
    .addOption(
      new Option('--listen-base <port>', 'first of the ports that the nodes’ agents answer HTTP on; 0 takes free ones')
        .env('ROLLCALL_LISTEN_BASE')
        .default(21_691)
        .argParser(integerBetween(0, 65_535 - MAX_NODES)),
    )
    .addOption(new Option('--seed <text>', 'other seeds make other nodes').env('ROLLCALL_SEED').default('rollcall'))
    .addOption(
      new Option('--dir <path>', 'where the environment files go')
        .env('ROLLCALL_DIR')
        .default(undefined, 'a new folder in the temporary one'),
    )
    .addOption(
      new Option('--agents', 'also start a real agent for each node, on --store').env('ROLLCALL_AGENTS').default(false),
    )
    .addHelpText('after', EXAMPLES);
  for (const option of storeOptions()) command.addOption(option);
  return command.action(async (flags: SimulateFlags) => {
    // Loaded here, so that a command that only reads the roll does not pay for servers and child processes.
    const { runSimulation } = await import('./run-simulation.ts');
    await runSimulation(flags, context);
  });
}
