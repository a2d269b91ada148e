import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type StoreFlags, storeConfig, storeVariables } from '../../config/store-options.ts';
import { describeError, RollcallError } from '../../errors.ts';
import { startAgents } from '../../lifecycle/start-agents.ts';
import { ecsEnvironment } from '../../simulator/ecs/ecs-environment.ts';
import { type Simulator, startSimulator } from '../../simulator/simulator.ts';
import type { CliContext } from '../cli-context.ts';
import { renderTable } from '../render-table.ts';

export interface SimulateFlags extends StoreFlags {
  readonly nodes: number;
  readonly cluster: string;
  readonly clusters: number;
  readonly ecs: boolean;
  readonly basePort: number;
  readonly listenBase: number;
  readonly seed: string;
  readonly dir?: string;
  readonly agents: boolean;
}

/** Simulated nodes, and agents on them where they are asked for, until a stop signal. */
export async function runSimulation(flags: SimulateFlags, context: CliContext): Promise<void> {
  storeConfig(flags); // refuse a wrong store before anything is started
  const stopped = new Promise<void>((resolve) => context.onStopSignal(resolve));
  const { nodes, cluster, clusters, ecs, basePort, seed } = flags;
  const simulator = await startSimulator({ nodes, cluster, clusters, ecs, basePort, seed, clock: context.clock });
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
  const ecs = simulator.ecsEndpoint === null ? {} : ecsEnvironment(simulator.ecsEndpoint);
  if (simulator.ecsEndpoint !== null) await writeFile(join(folder, 'ecs.env'), environmentFile(ecs));
  return Promise.all(
    simulator.nodes.map(async ({ node, imdsEndpoint, introspectionEndpoint }, index) => {
      const machineIdFile = join(folder, `node-${index + 1}.machine-id`);
      const environment = {
        // Not AWS's variable: this one outranks whatever the shell has.
        ROLLCALL_METADATA_ENDPOINT: imdsEndpoint,
        ROLLCALL_INTROSPECTION_ENDPOINT: introspectionEndpoint,
        ROLLCALL_MACHINE_ID_FILE: machineIdFile,
        ROLLCALL_LISTEN: `127.0.0.1:${listenBase === 0 ? 0 : listenBase + index}`,
        ...ecs,
      };
      await writeFile(machineIdFile, `${node.machineId}\n`);
      await writeFile(join(folder, `node-${index + 1}.env`), environmentFile(environment));
      return environment;
    }),
  );
}

function environmentFile(environment: Readonly<Record<string, string>>): string {
  const lines = Object.entries(environment).map(([name, value]) => `${name}=${value}\n`);
  return lines.join('');
}

function describe(simulator: Simulator, folder: string): string {
  const rows = simulator.nodes.map(({ node }, index) => [
    node.privateIpAddress,
    node.instanceId,
    join(folder, `node-${index + 1}.env`),
  ]);
  const table = renderTable(['IP', 'INSTANCE', 'ENVIRONMENT FILE'], rows);
  const ecs = simulator.ecsEndpoint;
  const use = ecs === null ? '' : `ECS: ${ecs}; AWS tools find it with env $(cat ${join(folder, 'ecs.env')}).\n`;
  return `${table}${use}Faults and notices: ${simulator.controlUrl}/nodes${ecs === null ? '' : ' and /ecs'}. Ctrl-C ends the simulation.\n`;
}
