import { readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../../support/machine-time.ts';
import { PATIENCE_MS } from '../../support/rollcall-process.ts';
import { finish } from './finish.ts';
import { REPOSITORY } from './host-paths.ts';
import { addressOf, type Lan } from './lan.ts';
import { type BoundProcess, spawnBound } from './spawn-bound.ts';

/** What is around a machine and outlives it: a network namespace with its metadata service, ecs-agent and etcd. */
export interface Instance {
  readonly instanceId: string;
  /** Its metadata service and ecs-agent; see simulated-ec2.ts for its signals. */
  readonly ec2: BoundProcess;
  /** Goes before a command that is to run in its network. */
  readonly inNetwork: readonly string[];
  /** Runs `etcdctl ARGS` against its etcd. */
  etcdctl(...args: string[]): Promise<string>;
  end(): Promise<void>;
}

/** @param lan where given, its etcd is a member of a cluster of all that are on it, and starts when a majority does */
export async function startInstance(work: string, index: number, lan: Lan | null): Promise<Instance> {
  const addresses = 'ip link set lo up; ip address add 169.254.169.254/32 dev lo';
  const attached = lan ? 'until ip -4 address show dev eth0 2>/dev/null | grep -q inet; do sleep 0.1; done' : ':';
  const etcdArgs = [
    `--data-dir=${work}/etcd`,
    '--unsafe-no-fsync',
    '--logger=zap',
    '--log-level=error',
    ...memberArgs(index, lan),
  ];
  const holder = ['unshare', '--net', 'bash', '-euc', `${addresses}; ${attached}; exec "$@"`, 'bash'];
  const etcd = spawnBound([...holder, 'etcd', ...etcdArgs]);
  const started = [etcd];
  const end = async () => void (await Promise.all(started.map((each) => each.kill())));
  try {
    const ours = await readlink('/proc/self/ns/net');
    await until('the network is there', PATIENCE_MS, async () => (await readlink(`/proc/${etcd.pid}/ns/net`)) !== ours);
    await lan?.attach(index, etcd.pid);
    const inNetwork = ['nsenter', `--net=/proc/${etcd.pid}/ns/net`, '--'];
    const etcdctl = async (...args: string[]) => {
      const [file = '', ...rest] = [...inNetwork, 'env', 'ETCDCTL_API=3', 'etcdctl', '--command-timeout=10s', ...args];
      const { code, stdout, stderr } = await finish(file, rest, PATIENCE_MS);
      if (code !== 0) throw new Error(`etcdctl ${args.join(' ')}: ${stderr}`);
      return stdout;
    };
    await until('etcd answers', 60_000, async () => (await etcdctl('endpoint', 'health')) !== undefined);
    const script = join(REPOSITORY, 'test/host/support/simulated-ec2.ts');
    const node = [process.execPath, '--disable-warning=ExperimentalWarning'];
    const ec2 = spawnBound([...inNetwork, ...node, script, String(index)]);
    started.push(ec2);
    await until('the simulated instance is up', PATIENCE_MS, () => ec2.output().includes('i-'));
    return { instanceId: ec2.output().trim(), ec2, inNetwork, etcdctl, end };
  } catch (error) {
    await end();
    throw error;
  }
}

function memberArgs(index: number, lan: Lan | null): string[] {
  if (!lan) return [];
  const url = (of: number, port: number) => `http://${addressOf(of)}:${port}`;
  const members = Array.from({ length: lan.size }, (_, of) => `m${of}=${url(of, 2380)}`);
  return [
    `--name=m${index}`,
    `--listen-client-urls=http://127.0.0.1:2379,${url(index, 2379)}`,
    `--advertise-client-urls=${url(index, 2379)}`,
    `--listen-peer-urls=${url(index, 2380)}`,
    `--initial-advertise-peer-urls=${url(index, 2380)}`,
    `--initial-cluster=${members.join(',')}`,
  ];
}
