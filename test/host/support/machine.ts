import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { until } from '../../support/rollcall-process.ts';
import { IMAGE_FILE, MACHINE_TREE, REPOSITORY } from './host-paths.ts';
import { makeCgroups, removeCgroup } from './own-cgroups.ts';
import { type BoundProcess, spawnBound } from './spawn-bound.ts';

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A booted systemd with docker, on an EC2 instance of its own, and an etcd beside it that outlives it. */
export interface Machine {
  readonly instanceId: string;
  /** Its metadata service and ecs-agent; see simulated-ec2.ts for its signals. */
  readonly ec2: BoundProcess;
  /** Runs `command` in the machine as root, under bash. */
  run(command: string, limitMs?: number): Promise<CommandResult>;
  /** As `run`; rejects when it fails. */
  must(command: string, limitMs?: number): Promise<string>;
  /** Runs `etcdctl ARGS` against the machine's etcd. */
  etcdctl(...args: string[]): Promise<string>;
  /** Resolves when the machine is off. */
  off(limitMs: number): Promise<void>;
}

const NODE = process.execPath;
/** What of it is the machine's own stands here and goes with the process: mounts, network, processes. */
const BOOT = `
set -eu
for group in $GROUPS_OF_MACHINE; do echo $$ >"$group/cgroup.procs"; done
mount -t overlay overlay -o "lowerdir=$TREE,upperdir=$WORK/upper,workdir=$WORK/scratch" "$WORK/root"
exec systemd-nspawn --quiet --boot --register=no --keep-unit --directory="$WORK/root" --machine="$NAME" \\
  --capability=all --system-call-filter='@keyring bpf' --console=pipe --kill-signal=SIGRTMIN+3 --resolv-conf=off \\
  --network-namespace-path=/proc/self/ns/net --bind="$WORK/docker:/var/lib/docker" --bind-ro="$REPOSITORY:/repository" \\
  --bind-ro="$IMAGE:/image.tar"
`;

/** Boots a machine, loads the image and installs the units; the test's end takes all of it away. */
export async function bootMachine(t: TestContext, settings: Record<string, string> = {}): Promise<Machine> {
  await sweep();
  const work = await mkdtemp(join(tmpdir(), `rollcall-host-${process.pid}-`));
  const name = work
    .slice(-6)
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '0');
  const cleanups: (() => Promise<unknown>)[] = [
    () => rm(work, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 }),
  ];
  t.after(async () => {
    for (const cleanup of cleanups.reverse()) await cleanup();
  });
  for (const folder of ['upper', 'scratch', 'root', 'docker', 'etcd']) await mkdir(join(work, folder));

  // etcd holds the network namespace: it is there before the machine, and after it.
  const network = 'ip link set lo up; ip address add 169.254.169.254/32 dev lo; exec "$@"';
  const etcdArgs = [`--data-dir=${work}/etcd`, '--unsafe-no-fsync', '--logger=zap', '--log-level=error'];
  const etcd = spawnBound(['unshare', '--net', 'bash', '-euc', network, 'bash', 'etcd', ...etcdArgs]);
  cleanups.push(() => etcd.kill());
  const inNetwork = ['nsenter', `--net=/proc/${etcd.pid}/ns/net`, '--'];
  const etcdctl = async (...args: string[]) => {
    const [file = '', ...rest] = [...inNetwork, 'env', 'ETCDCTL_API=3', 'etcdctl', '--command-timeout=3s', ...args];
    const { code, stdout, stderr } = await finish(file, rest, 10_000);
    if (code !== 0) throw new Error(`etcdctl ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  await until('etcd answers', 20_000, async () => (await etcdctl('endpoint', 'health')) !== undefined);

  const ec2 = spawnBound([
    ...inNetwork,
    NODE,
    '--disable-warning=ExperimentalWarning',
    join(REPOSITORY, 'test/host/support/simulated-ec2.ts'),
  ]);
  cleanups.push(() => ec2.kill());
  await until('the simulated instance is up', 20_000, () => ec2.output().includes('i-'));

  const groups = await makeCgroups(name);
  cleanups.push(async () => {
    for (const group of groups) await removeCgroup(group);
  });
  // systemd outlives an nspawn that is killed, but not the first process of a process namespace around both.
  const isolated = ['unshare', '--mount', '--pid', '--fork', '--kill-child=KILL', '--mount-proc', 'bash', '-c', BOOT];
  const boot = spawnBound([...inNetwork, ...isolated], {
    env: {
      PATH: process.env['PATH'],
      // As Flatcar and Fedora CoreOS are today: one hierarchy.
      SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1',
      SYSTEMD_NSPAWN_LOCK: '0',
      GROUPS_OF_MACHINE: groups.join(' '),
      TREE: MACHINE_TREE,
      IMAGE: IMAGE_FILE,
      WORK: work,
      NAME: name,
      REPOSITORY,
    },
  });
  cleanups.push(() => boot.kill());

  let leader = 0;
  await until('systemd has started', 20_000, async () => {
    if (boot.ended()) throw new Error(`the machine ended: ${boot.output()}`);
    leader = await systemdBelow(boot.pid);
    return leader > 0;
  });
  const enter = [
    '--target',
    String(leader),
    '--mount',
    '--pid',
    '--net',
    '--uts',
    '--ipc',
    '--cgroup',
    '--root',
    '--wd',
    '--',
  ];
  const run = (command: string, limitMs = 30_000) => finish('nsenter', [...enter, 'bash', '-c', command], limitMs);
  const must = async (command: string, limitMs?: number) => {
    const result = await run(command, limitMs);
    if (result.code !== 0) throw new Error(`${command}: status ${result.code}: ${result.stderr}${result.stdout}`);
    return result.stdout;
  };
  await until('docker is up', 60_000, async () => (await run('systemctl is-active docker')).code === 0);
  await must('docker load --input /image.tar', 60_000);
  const lines = Object.entries({ ROLLCALL_STORE: 'etcd://127.0.0.1:2379', ...settings }).map(
    ([key, value]) => `${key}=${value}\n`,
  );
  await must(
    `mkdir -p /etc/rollcall && cp /repository/units/*.service /etc/systemd/system/ && printf '%s' '${lines.join('')}' >/etc/rollcall/rollcall.env && systemctl daemon-reload`,
  );
  return {
    instanceId: ec2.output().trim(),
    ec2,
    run,
    must,
    etcdctl,
    off: async (limitMs) => void (await until('the machine is off', limitMs, () => boot.ended())),
  };
}

function finish(file: string, args: readonly string[], limitMs: number): Promise<CommandResult> {
  return new Promise((resolve) => {
    execFile(
      file,
      [...args],
      { timeout: limitMs, killSignal: 'SIGKILL', maxBuffer: 16 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
        resolve({ code, stdout, stderr });
      },
    );
  });
}

/** The machine's process 1 as it is called here: unshare's child is nspawn, and systemd is a child of that; 0 while there is none. */
async function systemdBelow(pid: number): Promise<number> {
  const children = async (of: number) =>
    (await readFile(`/proc/${of}/task/${of}/children`, 'utf8').catch(() => ''))
      .trim()
      .split(' ')
      .map(Number)
      .filter(Boolean);
  for (const nspawn of await children(pid)) {
    for (const candidate of await children(nspawn)) {
      if ((await readFile(`/proc/${candidate}/comm`, 'utf8').catch(() => '')).trim() === 'systemd') return candidate;
    }
  }
  return 0;
}

/** What test runs left that died before their cleaning up; all else of them went with their processes. */
async function sweep(): Promise<void> {
  for (const entry of await readdir(tmpdir())) {
    const pid = /^rollcall-host-(\d+)-/.exec(entry)?.[1];
    const alive = pid && (await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null)) !== null;
    if (pid && !alive) await rm(join(tmpdir(), entry), { recursive: true, force: true });
  }
}
