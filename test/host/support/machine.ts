import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { until } from '../../support/machine-time.ts';
import { type CommandResult, finish } from './finish.ts';
import { IMAGE_FILE, MACHINE_TREE, REPOSITORY } from './host-paths.ts';
import { type Instance, startInstance } from './instance.ts';
import type { Lan } from './lan.ts';
import { makeCgroups, removeCgroup } from './own-cgroups.ts';
import { spawnBound } from './spawn-bound.ts';

/** A booted systemd with docker, on an EC2 instance of its own. */
export interface Machine extends Pick<Instance, 'instanceId' | 'ec2' | 'etcdctl'> {
  /** Runs `command` in the machine as root, under bash. */
  run(command: string, limitMs?: number): Promise<CommandResult>;
  /** As `run`; rejects when it fails. */
  must(command: string, limitMs?: number): Promise<string>;
  /** Resolves when the machine is off. */
  off(limitMs: number): Promise<void>;
}

export interface Place {
  /** Which of the simulated instances it is; default 0. */
  readonly index?: number;
  readonly lan?: Lan;
  /** For the agent's environment file, beside a store on the machine itself. */
  readonly settings?: Readonly<Record<string, string>>;
}

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
export async function bootMachine(t: TestContext, place: Place = {}): Promise<Machine> {
  await sweep();
  const work = await mkdtemp(join(tmpdir(), `rollcall-host-${process.pid}-`));
  const name = work
    .slice(-6)
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '0');
  const cleanups: (() => Promise<unknown>)[] = [() => removeTree(work)];
  t.after(async () => {
    for (const cleanup of cleanups.reverse()) await cleanup();
  });
  for (const folder of ['upper', 'scratch', 'root', 'docker', 'etcd']) await mkdir(join(work, folder));

  const instance = await startInstance(work, place.index ?? 0, place.lan ?? null);
  cleanups.push(() => instance.end());
  const groups = await makeCgroups(name);
  cleanups.push(async () => {
    for (const group of groups) await removeCgroup(group);
  });
  // systemd outlives an nspawn that is killed, but not the first process of a process namespace around both.
  const isolated = ['unshare', '--mount', '--pid', '--fork', '--kill-child=KILL', '--mount-proc', 'bash', '-c', BOOT];
  const boot = spawnBound([...instance.inNetwork, ...isolated], {
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
  await until('systemd has started', 60_000, async () => {
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
  const run = (command: string, limitMs = 60_000) => finish('nsenter', [...enter, 'bash', '-c', command], limitMs);
  const must = async (command: string, limitMs?: number) => {
    const result = await run(command, limitMs);
    if (result.code !== 0) throw new Error(`${command}: status ${result.code}: ${result.stderr}${result.stdout}`);
    return result.stdout;
  };
  await until('docker is up', 120_000, async () => (await run('systemctl is-active docker')).code === 0);
  await must('docker load --input /image.tar', 120_000);
  const lines = Object.entries({ ROLLCALL_STORE: 'etcd://127.0.0.1:2379', ...place.settings }).map(
    ([key, value]) => `${key}=${value}\n`,
  );
  await must(
    `mkdir -p /etc/rollcall && cp /repository/units/*.service /etc/systemd/system/ && printf '%s' '${lines.join('')}' >/etc/rollcall/rollcall.env && systemctl daemon-reload`,
  );
  return {
    instanceId: instance.instanceId,
    ec2: instance.ec2,
    etcdctl: instance.etcdctl,
    run,
    must,
    off: async (limitMs) => void (await until('the machine is off', limitMs, () => boot.ended())),
  };
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
    if (pid && !alive) await removeTree(join(tmpdir(), entry));
  }
}

/** Also where a test left a file in it that not even root can delete. */
async function removeTree(path: string): Promise<void> {
  const remove = () => rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  await remove().catch(async () => {
    await finish('chattr', ['-R', '-f', '-i', path], 60_000);
    await remove();
  });
}
