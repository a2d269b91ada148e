import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type FleetctlState, fleetctlState, type StandInMachine, type StandInUnitState } from './fleetctl-state.ts';
import { CLEAN_ENV, type Finished, type Running, type SimulatedFleet, startRollcall } from './rollcall-process.ts';

const RECONCILE_MS = 200;
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
  /** Machines in here start nothing, and say that the unit failed. */
  readonly broken: Set<string>;
  /** Runs `scripts/NAME ARGS…` with the stand-ins on its PATH. */
  script(name: string, args: readonly string[], env?: Record<string, string>): Promise<Finished>;
  /** Every call of fleetctl and aws since the last look. */
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
    const program = `#!/bin/sh\nexec ${ROOT}node_modules/.bin/node ${ROOT}test/support/${file} "$@"\n`;
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

  /** machine id → the agent that runs there, and the unit text it was started for. */
  const agents = new Map<string, { readonly agent: Running; readonly text: string }>();
  const reconcile = async () => {
    const states: StandInUnitState[] = [];
    for (const [index, { id: machineId }] of machines.entries()) {
      for (const unit of state.unitNames()) {
        const launched = state.unit(unit)?.dstate === 'launched';
        const failed = broken.has(machineId) && unit === 'rollcall.service';
        const [active, sub] = launched ? (failed ? ['failed', 'failed'] : ['active', 'running']) : ['inactive', 'dead'];
        states.push({ unit, machineId, active: active ?? '', sub: sub ?? '' });
      }
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
        const env = { ...environments[index], ROLLCALL_STORE: options.store, ROLLCALL_PRESENCE_TTL: '3s' };
        const agent = startRollcall(t, ['agent'], { ...env, ...Object.fromEntries(set) });
        agents.set(machineId, { agent, text: wanted });
      }
    }
    state.putStates(states);
  };
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

  return {
    bin: join(dir, 'bin'),
    state,
    machines,
    broken,
    script: (name, args, env = {}) =>
      new Promise((resolve) => {
        const base = { ...CLEAN_ENV, PATH: `${join(dir, 'bin')}:${process.env['PATH']}` };
        const standIns = { FLEET_STANDIN: dir, FLEET_STANDIN_VERSION: options.version, AWS_STANDIN: dir };
        const limits = { timeout: 120_000, maxBuffer: 16 * 1024 * 1024 };
        const child = execFile(
          join(ROOT, 'scripts', name),
          [...args],
          { env: { ...base, ...standIns, ...env }, ...limits },
          (_, stdout, stderr) => resolve({ code: child.exitCode, stdout, stderr }),
        );
        child.stdin?.end();
      }),
    calls: async () => {
      const lines = (await readFile(join(dir, 'calls.log'), 'utf8')).trim().split('\n').filter(Boolean);
      await writeFile(join(dir, 'calls.log'), '');
      return lines;
    },
    awsError: (text) => (text === null ? rm(join(dir, 'error'), { force: true }) : writeFile(join(dir, 'error'), text)),
    clusters: async () => (await readFile(join(dir, 'clusters'), 'utf8')).split('\n').filter(Boolean),
  };
}
