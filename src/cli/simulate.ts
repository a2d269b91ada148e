import { Command, Option } from 'commander';
import { integerBetween } from '../config/flags.ts';
import { storeOptions } from '../config/store-flags.ts';
import { MAX_CLUSTERS, MAX_NODES } from '../simulator/limits.ts';
import type { CliContext } from './context.ts';
import type { SimulateFlags } from './run-simulation.ts';

const EXAMPLES = `
Each node gets an environment file. An agent started with these variables runs
as that node. Faults and notices are set over HTTP while the simulation runs
(the address is printed).

Examples:
  rollcall simulate --nodes 3 --dir /tmp/sim
  env $(cat /tmp/sim/node-1.env) rollcall agent --store sqlite:/tmp/sim/roll.db
  rollcall simulate --nodes 3 --agents --store sqlite:/tmp/roll.db
  curl -X PUT -d '{"introspection":"refuse"}' \\
    http://127.0.0.1:PORT/nodes/INSTANCE/faults
  rollcall simulate --nodes 3 --ecs --dir /tmp/sim
  env $(cat /tmp/sim/ecs.env) rollcall list --source ecs --cluster demo
  curl -X PUT -d '{"ListClusters":"throttle"}' http://127.0.0.1:PORT/ecs/faults`;

export function simulateCommand(context: CliContext): Command {
  const command = new Command('simulate')
    .description(
      'Simulate nodes on loopback: EC2 metadata, ecs-agent introspection and the ECS API, with faults to set.',
    )
    .addOption(
      new Option('--nodes <n>', 'number of nodes')
        .env('ROLLCALL_NODES')
        .default(3)
        .argParser(integerBetween(1, MAX_NODES)),
    )
    .addOption(new Option('--cluster <name>', 'ECS cluster of the nodes').env('ROLLCALL_CLUSTER').default('demo'))
    .addOption(
      new Option('--clusters <n>', 'number of clusters; the nodes alternate between NAME, NAME-2, NAME-3 …')
        .env('ROLLCALL_CLUSTERS')
        .default(1)
        .argParser(integerBetween(1, MAX_CLUSTERS)),
    )
    .addOption(new Option('--ecs', 'also serve an ECS endpoint with these nodes').env('ROLLCALL_ECS').default(false))
    .addOption(
      new Option('--base-port <port>', 'first port: control, then two for each node, then ECS; 0: free ports')
        .env('ROLLCALL_BASE_PORT')
        .default(0)
        .argParser(integerBetween(0, 65_535)),
    )
    .addOption(
      new Option('--listen-base <port>', 'first HTTP port of the nodes’ agents; 0: free ports')
        .env('ROLLCALL_LISTEN_BASE')
        .default(21_691)
        .argParser(integerBetween(0, 65_535 - MAX_NODES)),
    )
    .addOption(
      new Option('--seed <text>', 'seed of the ids; another seed gives other nodes')
        .env('ROLLCALL_SEED')
        .default('rollcall'),
    )
    .addOption(
      new Option('--dir <path>', 'folder of the environment files')
        .env('ROLLCALL_DIR')
        .default(undefined, 'a new temporary folder'),
    )
    .addOption(
      new Option('--agents', 'also start a real agent for each node, on --store').env('ROLLCALL_AGENTS').default(false),
    )
    .addHelpText('after', EXAMPLES);
  for (const option of storeOptions()) command.addOption(option);
  return command.action(async (flags: SimulateFlags) => {
    // Loaded here, because the other commands need neither servers nor child processes.
    const { runSimulation } = await import('./run-simulation.ts');
    await runSimulation(flags, context);
  });
}
