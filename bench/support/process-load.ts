import { readdir, readFile } from 'node:fs/promises';

/** USER_HZ, the same on every Linux that Node runs on: proc_pid_stat(5). */
const TICK_MS = 10;

/** The processor time that a process has used, in its own code and in the kernel. */
export async function cpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name in brackets may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

export async function openFiles(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`)).length;
}
