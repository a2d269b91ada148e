import { readFile } from 'node:fs/promises';

/** Of one process, in MB of 10⁶ bytes. `anonymous` is the part of `resident` that is no file's; `peak` of `resident`. */
export interface ProcessMemory {
  readonly residentMb: number;
  readonly anonymousMb: number;
  readonly peakMb: number;
}

/** From `/proc/PID/status` (VmRSS, RssAnon, VmHWM; proc(5)); null when the process has ended. */
export async function processMemory(pid: number): Promise<ProcessMemory | null> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const fields = ['VmRSS', 'RssAnon', 'VmHWM'].map((name) => {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    return kibibytes === undefined ? null : (Number(kibibytes) * 1_024) / 1_000_000;
  });
  const [residentMb, anonymousMb, peakMb] = fields;
  // A zombie has a status without them.
  if (residentMb == null || anonymousMb == null || peakMb == null) return null;
  return { residentMb, anonymousMb, peakMb };
}

/** Of a process that has to be there. */
export async function memoryOf(pid: number): Promise<ProcessMemory> {
  const found = await processMemory(pid);
  if (!found) throw new Error(`process ${pid} has ended`);
  return found;
}
