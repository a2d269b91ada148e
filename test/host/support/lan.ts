import type { TestContext } from 'node:test';
import { until } from '../../support/machine-time.ts';
import { PATIENCE_MS } from '../../support/rollcall-process.ts';
import { type CommandResult, finish } from './finish.ts';
import { spawnBound } from './spawn-bound.ts';

/** A bridge in a network namespace of its own; it ends with the test's process. */
export interface Lan {
  readonly size: number;
  /** Gives the network namespace of the process an eth0 with the address of that index. */
  attach(index: number, pid: number): Promise<void>;
  /** Takes the cable out of that machine, or puts it back. */
  setLink(index: number, up: boolean): Promise<void>;
  /** Runs `command` under bash as another host of the network, 10.113.0.1. */
  run(command: string): Promise<CommandResult>;
}

/** The address of the simulated instance of that index. */
export const addressOf = (index: number): string => `10.113.0.${23 + index}`;

export async function startLan(t: TestContext, size: number): Promise<Lan> {
  const bridge =
    'ip link add br0 type bridge; ip link set br0 up; ip address add 10.113.0.1/16 dev br0; echo up; exec sleep infinity';
  const holder = spawnBound(['unshare', '--net', 'bash', '-euc', bridge]);
  t.after(() => holder.kill());
  await until('the bridge is up', PATIENCE_MS, () => holder.output().includes('up'));
  const inside = async (pid: number, script: string) => {
    const { code, stderr } = await finish(
      'nsenter',
      [`--net=/proc/${pid}/ns/net`, '--', 'bash', '-euc', script],
      PATIENCE_MS,
    );
    if (code !== 0) throw new Error(`${script}: ${stderr}`);
  };
  return {
    size,
    async attach(index, pid) {
      const port = `port${index}`;
      await inside(
        holder.pid,
        `ip link add ${port} type veth peer name eth0 netns ${pid}; ip link set ${port} master br0 up`,
      );
      await inside(pid, `ip link set eth0 up; ip address add ${addressOf(index)}/16 dev eth0`);
    },
    run: (command) => finish('nsenter', [`--net=/proc/${holder.pid}/ns/net`, '--', 'bash', '-c', command], PATIENCE_MS),
    setLink: (index, up) => inside(holder.pid, `ip link set port${index} ${up ? 'up' : 'down'}`),
  };
}
