import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type FleetctlState, fleetctlState, type StandInMachine, type StandInUnitState } from './fleetctl-state.ts';
import { diesWithParent, killAtExit } from './owned-process.ts';
import { CLEAN_ENV, type Finished, type Running, type SimulatedFleet, startRollcall } from './rollcall-process.ts';

const RECONCILE_MS = 200;
const RUNNING = { active: 'active', sub: 'running' };
const FAILED = { active: 'failed', sub: 'failed' };
const ENDING = { active: 'deactivating', sub: 'stop-sigterm' };
const INACTIVE = { active: 'inactive', sub: 'dead' };
const SCRIPT_LIMIT_MS = 120_000;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface FleetOptions {
  readonly version: string;
  readonly store: string;
  readonly simulated: SimulatedFleet;
  /** How many of the simulated nodes are machines of the fleet. */
  readonly nodes: number;
}

export interface FleetStandIn {
  /** Where the stand-ins are. */
  readonly bin: string;
  readonly state: FleetctlState;
  readonly machines: readonly StandInMachine[];
  /** Machines in here do nothing that fleet tells them, as one whose fleet hangs. */
  readonly deaf: Set<string>;
  /** Machines in here start nothing, and say that the unit failed. */
  readonly broken: Set<string>;
  /** On machines in here ecs-agent is still ending after it was stopped. */
  readonly slow: Set<string>;
  /** Runs `scripts/NAME ARGS…` with the stand-ins on its PATH. */
  script(name: string, args: readonly string[], env?: Record<string, string>): Promise<Finished>;
  /** The same, in a process group of its own, while it runs. */
  start(
    name: string,
    args: readonly string[],
    env?: Record<string, string>,
  ): {
    readonly pid: number;
    readonly ended: Promise<number | null>;
    readonly stdout: () => string;
    readonly stderr: () => string;
  };
  /** Every call of fleetctl and aws since the last read. */
  calls(): Promise<string[]>;
  /** `null`: all is well. */
  awsError(text: string | null): Promise<void>;
  /** Existing ECS clusters. */
  clusters(): Promise<string[]>;
}

/** A fleet whose machines are simulated nodes: where rollcall.service is launched, each runs a real agent. */
export async function startFleetStandIn(t: TestContext, options: FleetOptions): Promise<FleetStandIn> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-fleet-'));
  await mkdir(join(dir, 'units'));
  await mkdir(join(dir, 'bin'));
  await writeFile(join(dir, 'clusters'), '');
  await writeFile(join(dir, 'calls.log'), '');
  for (const [name, file] of [
    ['fleetctl', 'fleetctl.ts'],
    ['aws', 'aws.ts'],
  ]) {
    const program = `#!/bin/sh\nexec ${process.execPath} ${ROOT}test/support/${file} "$@"\n`;
    await writeFile(join(dir, 'bin', name ?? ''), program, { mode: 0o755 });
  }
  const state = fleetctlState(dir);
  const environments = await Promise.all(
    Array.from({ length: options.nodes }, (_, index) => options.simulated.environment(index + 1)),
  );
  const machines = await Promise.all(
    environments.map(async (environment, index) => ({
      id: (await readFile(environment['ROLLCALL_MACHINE_ID_FILE'] ?? '', 'utf8')).trim(),
      ip: `10.113.0.${23 + index}`,
    })),
  );
  state.putMachines(machines);
  const broken = new Set<string>();
  const deaf = new Set<string>();
  const slow = new Set<string>();
  /** The last that each machine's fleetd published; a frozen one publishes nothing new. */
  const published = new Map<string, StandInUnitState[]>();

  /** machine id → the agent that runs there, and the unit text it was started for. */
  const agents = new Map<string, { readonly agent: Running; readonly text: string }>();
  const unitStates = (machineId: string): StandInUnitState[] =>
    state.unitNames().map((unit) => {
      const launched = state.unit(unit)?.dstate === 'launched';
      const failed = broken.has(machineId) && unit === 'rollcall.service';
      const ending = slow.has(machineId) && unit === 'amazon-ecs-agent.service';
      if (!launched) return { unit, machineId, ...(ending ? ENDING : INACTIVE) };
      return { unit, machineId, ...(failed ? FAILED : RUNNING) };
    });
  const reconcile = async () => {
    for (const [index, { id: machineId }] of machines.entries()) {
      if (deaf.has(machineId)) continue;
      const unit = state.unit('rollcall.service');
      const wanted = unit?.dstate === 'launched' && !broken.has(machineId) ? JSON.stringify(unit.options) : null;
      const running = agents.get(machineId);
      if (running && running.text !== wanted) {
        running.agent.child.kill('SIGTERM');
        await running.agent.ended;
        agents.delete(machineId);
      }
      if (unit && wanted !== null && !agents.has(machineId)) {
        const set = unit.options.filter(({ name }) => name === 'Environment').map(({ value }) => value.split(/=(.*)/s));
        const env = { ...environments[index], ROLLCALL_STORE: options.store, ROLLCALL_PRESENCE_TTL: '10s' };
        const agent = startRollcall(t, ['agent'], { ...env, ...Object.fromEntries(set) });
        agents.set(machineId, { agent, text: wanted });
      }
      published.set(machineId, unitStates(machineId));
    }
    // What a machine published expires with its place in the list.
    state.putStates(state.machines().flatMap(({ id }) => published.get(id) ?? []));
  };
  let lookedAt = 0;
  const ended = new AbortController();
  const hosts = (async () => {
    while (!ended.signal.aborted) {
      await reconcile();
      await sleep(RECONCILE_MS, undefined, { signal: ended.signal }).catch(() => {});
    }
  })();
  t.after(async () => {
    ended.abort();
    await hosts;
    await rm(dir, { recursive: true, force: true });
  });

  const start: FleetStandIn['start'] = (name, args, env = {}) => {
    const base = { ...CLEAN_ENV, PATH: `${join(dir, 'bin')}:${process.env['PATH']}` };
    const standIns = {
      FLEET_STANDIN: dir,
      FLEET_STANDIN_VERSION: options.version,
      AWS_STANDIN: dir,
      AWS_REGION: 'us-east-1',
      XDG_STATE_HOME: dir,
    };
    // Asked to end, the script cleans up after itself.
    const [file, allArgs] = diesWithParent('TERM', join(ROOT, 'scripts', name), args);
    const child = spawn(file, allArgs, {
      cwd: ROOT,
      env: { ...base, ...standIns, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      timeout: SCRIPT_LIMIT_MS,
    });
    const kill = () => child.pid !== undefined && child.exitCode === null && process.kill(-child.pid, 'SIGKILL');
    const release = killAtExit(kill);
    const ended = once(child, 'close').then(([code]) => {
      release();
      return code;
    });
    t.after(kill);
    const output = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => (output.stdout += chunk));
    child.stderr.on('data', (chunk) => (output.stderr += chunk));
    return { pid: child.pid ?? 0, ended, stdout: () => output.stdout, stderr: () => output.stderr };
  };

  return {
    bin: join(dir, 'bin'),
    state,
    machines,
    broken,
    deaf,
    slow,
    script: async (name, args, env) => {
      const running = start(name, args, env);
      const code = await running.ended;
      return { code, stdout: running.stdout(), stderr: running.stderr() };
    },
    start,
    calls: async () => {
      // Emptied, the file would lose what is called between the read and that.
      const lines = (await readFile(join(dir, 'calls.log'), 'utf8')).split('\n').slice(lookedAt, -1);
      lookedAt += lines.length;
      return lines;
    },
    awsError: (text) => (text === null ? rm(join(dir, 'error'), { force: true }) : writeFile(join(dir, 'error'), text)),
    clusters: async () => (await readFile(join(dir, 'clusters'), 'utf8')).split('\n').filter(Boolean),
  };
}
