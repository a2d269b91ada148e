import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type EtcdServer, startEtcd } from './etcd-server.ts';
import { type FleetStandIn, startFleetStandIn } from './fleet-standin.ts';
import { rollcall, startFleet } from './rollcall-process.ts';

/** What a fleet re-serialises: a comment, an indentation, a continued line, a section in two parts. */
const UNIT = (label: string) => `# deployed by scripts/deploy
[Unit]
  Description=rollcall
[Service]
Environment=ROLLCALL_LABEL=generation=${label}
ExecStart=/usr/bin/docker run --rm --net=host \\
    --name rollcall rollcall agent
; what makes it run everywhere
[X-Fleet]
Global=true
[Unit]
After=docker.service
`;
const ECS_UNIT = '[Unit]\nDescription=ecs-agent\n[Service]\nExecStart=/usr/bin/docker run amazon/amazon-ecs-agent\n';

export interface DeployWorld {
  readonly etcd: EtcdServer;
  readonly store: string;
  readonly fleet: FleetStandIn;
  readonly units: string;
  /** `scripts/deploy` with all it needs and no terminal to ask. */
  deploy(...more: string[]): ReturnType<FleetStandIn['script']>;
  undeploy(...more: string[]): ReturnType<FleetStandIn['script']>;
  /** In a process group of its own, as a shell starts it for Ctrl-C to reach. */
  deployInGroup(env: Record<string, string>, ...more: string[]): ReturnType<FleetStandIn['start']>;
  writeUnits(label: string): Promise<void>;
  /** instance id → the label that its agent was started with */
  labels(): Promise<Record<string, string>>;
}

/** A fleet of simulated nodes on a real etcd, with unit files to deploy on it. */
export async function deployWorld(t: TestContext, version: string, nodes = 3): Promise<DeployWorld> {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const store = etcd.clientUrl.replace('http', 'etcd');
  const simulated = await startFleet(t, 3);
  const fleet = await startFleetStandIn(t, { version, store, simulated, nodes });
  const units = await mkdtemp(join(tmpdir(), 'rollcall-units-'));
  t.after(() => rm(units, { recursive: true, force: true }));
  const writeUnits = async (label: string) => {
    await writeFile(join(units, 'rollcall.service'), UNIT(label));
    await writeFile(join(units, 'amazon-ecs-agent.service'), `${ECS_UNIT}[X-Fleet]\nGlobal=true\n`);
  };
  await writeUnits('1');
  return {
    etcd,
    store,
    fleet,
    units,
    writeUnits,
    deploy: (...more) =>
      fleet.script('deploy', ['--store', store, '--cluster', 'demo', '--units', units, '--yes', ...more]),
    undeploy: (...more) => fleet.script('undeploy', ['--store', store, '--yes', ...more]),
    deployInGroup: (env, ...more) =>
      fleet.start('deploy', ['--store', store, '--cluster', 'demo', '--units', units, '--yes', ...more], env),
    async labels() {
      const { stdout } = await rollcall(['list', '-o', 'json', '--store', store]);
      const nodesThere: { ec2InstanceId: string; labels: Record<string, string> }[] =
        JSON.parse(stdout).containerInstances;
      return Object.fromEntries(nodesThere.map((node) => [node.ec2InstanceId, node.labels['generation'] ?? '']));
    },
  };
}

/** Calls that change something. */
const CHANGES = /^(submit|start|stop|load|unload|destroy|aws ecs create)/;
export const changes = (calls: readonly string[]) => calls.filter((call) => CHANGES.test(call));
export const lastLine = (text: string) => text.trimEnd().split('\n').at(-1) ?? '';
export const count = (states: Record<string, string>, state: string) =>
  Object.values(states).filter((each) => each === state).length;
