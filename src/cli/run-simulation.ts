import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type StoreFlags, storeConfig, storeVariables } from '../config/store-flags.ts';
import type { Clock } from '../lib/clock.ts';
import { describeError, RollcallError } from '../lib/errors.ts';
import { ecsEnvironment } from '../simulator/ecs/ecs-server.ts';
import { type Simulator, startSimulator } from '../simulator/simulator.ts';
import type { CliContext } from './context.ts';
import { renderTable } from './table.ts';

interface AgentLauncher {
  /** The command that starts this program: the runtime, its flags and the script. */
  readonly self: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly stderr: (line: string) => void;
}

interface RunningAgents {
  /** Resolves when all agents have ended. */
  readonly allEnded: Promise<unknown>;
  /** Sends SIGTERM to all agents, and SIGKILL after `STOP_LIMIT_MS`. */
  stop(): Promise<void>;
}

/** An agent ends within 3 s after SIGTERM; one that does not is stuck. */
const STOP_LIMIT_MS = 5_000;

/** Starts one agent process for each environment. An agent that ends by itself is reported on stderr. */
function startAgents(
  launcher: AgentLauncher,
  environments: readonly Readonly<Record<string, string>>[],
): RunningAgents {
  const [runtime, ...script] = launcher.self;
  let stopping = false;
  const children = environments.map((environment, index) => {
    const child = spawn(runtime, [...script, 'agent'], {
      env: { ROLLCALL_LOG_LEVEL: 'warn', ...launcher.env, ...environment },
      // The IPC channel carries no messages. Its end tells the agent that this process is gone.
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    child.on('error', (error) => launcher.stderr(`agent ${index + 1}: cannot start: ${error.message}`));
    child.on('exit', (code, signal) => {
      if (!stopping) launcher.stderr(`agent ${index + 1} (pid ${child.pid}) ended: ${signal ?? `exit status ${code}`}`);
    });
    return child;
  });
  const allEnded = Promise.all(children.map(exited));
  return {
    allEnded,
    async stop() {
      stopping = true;
      for (const child of children) child.kill('SIGTERM');
      const timer = new AbortController();
      const late = launcher.clock.sleep(STOP_LIMIT_MS, timer.signal).then(
        () => {
          for (const child of children) child.kill('SIGKILL');
        },
        () => {},
      );
      await allEnded;
      timer.abort();
      await late;
    },
  };
}

function exited(child: ChildProcess): Promise<unknown> {
  return child.exitCode !== null || child.signalCode !== null ? Promise.resolve() : once(child, 'exit').catch(() => {});
}

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

/** Runs the simulated nodes, and their agents with --agents, until a stop signal. */
export async function runSimulation(flags: SimulateFlags, context: CliContext): Promise<void> {
  storeConfig(flags); // refuse a wrong store URL before anything starts
  const stopped = new Promise<void>((resolve) => context.onStopSignal(() => resolve()));
  const { nodes, cluster, clusters, ecs, basePort, seed } = flags;
  const simulator = await startSimulator({ nodes, cluster, clusters, ecs, basePort, seed, clock: context.clock });
  const folder = await openFolder(flags.dir);
  try {
    const environments = await writeEnvironments(simulator, folder.path, flags.listenBase);
    await context.stdout(describeSimulation(simulator, folder.path));
    if (!flags.agents) return await stopped;
    const agents = startAgents(
      context,
      environments.map((environment) => ({ ...environment, ...storeVariables(flags) })),
    );
    const endedAlone = await Promise.race([stopped.then(() => false), agents.allEnded.then(() => true)]);
    await agents.stop();
    if (endedAlone) throw new RollcallError(`all ${nodes} agents ended by themselves; the lines above have the causes`);
  } finally {
    await simulator.close();
    await folder.remove();
  }
}

async function openFolder(given: string | undefined): Promise<{ path: string; remove: () => Promise<void> }> {
  try {
    if (given === undefined) {
      const path = await mkdtemp(join(tmpdir(), 'rollcall-simulate-'));
      return { path, remove: () => rm(path, { recursive: true, force: true }) };
    }
    // Not recursive: Node's recursive mkdir never returns where the kernel refuses new folders, such as in /proc.
    if (!existsSync(given)) await mkdir(given);
    return { path: given, remove: async () => {} };
  } catch (error) {
    throw new RollcallError(
      `cannot create the folder of the environment files: ${describeError(error)}; set another with --dir`,
    );
  }
}

/** Writes the variables of each simulated node to files, for `env` and systemd, and returns them. */
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
        // Not AWS's variable, because this one takes precedence over the shell's.
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

function describeSimulation(simulator: Simulator, folder: string): string {
  const rows = simulator.nodes.map(({ node }, index) => [
    node.privateIpAddress,
    node.instanceId,
    join(folder, `node-${index + 1}.env`),
  ]);
  const table = renderTable(['IP', 'INSTANCE', 'ENVIRONMENT FILE'], rows);
  const ecs = simulator.ecsEndpoint;
  const use = ecs === null ? '' : `ECS: ${ecs}; AWS tools use it with env $(cat ${join(folder, 'ecs.env')}).\n`;
  return `${table}${use}Faults and notices: ${simulator.controlUrl}/nodes${ecs === null ? '' : ' and /ecs'}. Ctrl-C ends the simulation.\n`;
}
