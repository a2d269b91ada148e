import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { integerBetween } from '../config/parse-option.ts';
import { type StoreFlags, storeConfig, storeOptions, storeVariables } from '../config/store-options.ts';
import { describeError, RollcallError } from '../errors.ts';
import { startAgents } from '../lifecycle/start-agents.ts';
import { MAX_NODES } from '../simulator/simulated-node.ts';
import type { Simulator } from '../simulator/simulator.ts';
import type { CliContext } from './cli-context.ts';
import { renderTable } from './render-table.ts';

interface SimulateFlags extends StoreFlags {
  readonly nodes: number;
  readonly cluster: string;
  readonly basePort: number;
  readonly listenBase: number;
  readonly seed: string;
  readonly dir?: string;
  readonly agents: boolean;
}

const EXAMPLES = `
Each node gets an environment file; an agent started with it believes it runs on that node. Faults and notices are
switched over HTTP while it runs (the address is printed).

Examples:
  rollcall simulate --nodes 3 --dir /tmp/sim
  env $(cat /tmp/sim/node-1.env) rollcall agent --store sqlite:/tmp/sim/roll.db
  rollcall simulate --nodes 3 --agents --store sqlite:/tmp/roll.db
  curl -X PUT -d '{"introspection":"refuse"}' http://127.0.0.1:PORT/nodes/INSTANCE/faults`;

export function simulateCommand(context: CliContext): Command {
  const command = new Command('simulate')
    .description('Simulated nodes on loopback: EC2 metadata and ecs-agent introspection with fault switches.')
    .addOption(
      new Option('--nodes <n>', 'how many').env('ROLLCALL_NODES').default(3).argParser(integerBetween(1, MAX_NODES)),
    )
    .addOption(new Option('--cluster <name>', 'their ECS cluster').env('ROLLCALL_CLUSTER').default('demo'))
    .addOption(
      new Option('--base-port <port>', 'first of the ports: control, then two for each node; 0 takes free ones')
        .env('ROLLCALL_BASE_PORT')
        .default(0)
        .argParser(integerBetween(0, 65_535)),
    )
    .addOption(
      new Option('--listen-base <port>', 'first of the ports that the nodes’ agents answer HTTP on; 0 takes free ones')
        .env('ROLLCALL_LISTEN_BASE')
        .default(51_691)
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
    storeConfig(flags); // refuse a wrong store before anything is started
    const stopped = new Promise<void>((resolve) => context.onStopSignal(resolve));
    const { nodes, cluster, basePort, seed } = flags;
    const { startSimulator } = await import('../simulator/simulator.ts');
    const simulator = await startSimulator({ nodes, cluster, basePort, seed, clock: context.clock });
    const folder = await makeFolder(flags.dir);
    try {
      const environments = await writeEnvironments(simulator, folder.path, flags.listenBase);
      await context.stdout(describe(simulator, folder.path));
      if (!flags.agents) return await stopped;
      const agents = startAgents(
        context,
        environments.map((environment) => ({ ...environment, ...storeVariables(flags) })),
      );
      const endedAlone = await Promise.race([stopped.then(() => false), agents.allEnded.then(() => true)]);
      await agents.stop();
      if (endedAlone) throw new RollcallError(`all ${nodes} agents ended by themselves; the lines above say why`);
    } finally {
      await simulator.close();
      await folder.remove();
    }
  });
}

async function makeFolder(given: string | undefined): Promise<{ path: string; remove: () => Promise<void> }> {
  try {
    if (given === undefined) {
      const path = await mkdtemp(join(tmpdir(), 'rollcall-simulate-'));
      return { path, remove: () => rm(path, { recursive: true, force: true }) };
    }
    // Only the last folder of the path: Node's recursive way never returns where the kernel refuses folders, as in /proc.
    if (!existsSync(given)) await mkdir(given);
    return { path: given, remove: async () => {} };
  } catch (error) {
    throw new RollcallError(
      `cannot make the folder for the environment files: ${describeError(error)}; choose one with --dir`,
    );
  }
}

/** The variables that make an agent believe it runs on a simulated node, also as files for `env` and systemd. */
async function writeEnvironments(
  simulator: Simulator,
  folder: string,
  listenBase: number,
): Promise<Record<string, string>[]> {
  return Promise.all(
    simulator.nodes.map(async ({ node, imdsEndpoint, introspectionEndpoint }, index) => {
      const machineIdFile = join(folder, `node-${index + 1}.machine-id`);
      const environment = {
        // Not AWS's variable: this one outranks whatever the shell has.
        ROLLCALL_METADATA_ENDPOINT: imdsEndpoint,
        ROLLCALL_INTROSPECTION_ENDPOINT: introspectionEndpoint,
        ROLLCALL_MACHINE_ID_FILE: machineIdFile,
        ROLLCALL_LISTEN: `127.0.0.1:${listenBase === 0 ? 0 : listenBase + index}`,
      };
      await writeFile(machineIdFile, `${node.machineId}\n`);
      const lines = Object.entries(environment).map(([name, value]) => `${name}=${value}\n`);
      await writeFile(join(folder, `node-${index + 1}.env`), lines.join(''));
      return environment;
    }),
  );
}

function describe(simulator: Simulator, folder: string): string {
  const rows = simulator.nodes.map(({ node }, index) => [
    node.privateIpAddress,
    node.instanceId,
    join(folder, `node-${index + 1}.env`),
  ]);
  const table = renderTable(['IP', 'INSTANCE', 'ENVIRONMENT FILE'], rows);
  return `${table}Faults and notices: ${simulator.controlUrl}/nodes. Ctrl-C ends the simulation.\n`;
}
