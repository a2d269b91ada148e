import type { Resources } from '../ecs/container-instance.ts';
import type { TaskNeeds } from '../ecs/task-needs.ts';

/** How many such tasks fit, at most `limit`. Of tasks with a fixed host port one fits. */
export function capacity(remaining: Resources, needs: TaskNeeds, limit: number): number {
  if (shortfalls(remaining, needs).length > 0) return 0;
  if (needs.ports.length + needs.portsUdp.length > 0) return Math.min(1, limit);
  // Nothing needed divides to infinity (or, of nothing left, to no number): no bound.
  const times = (has: number, need: number) => (need === 0 ? limit : Math.floor(has / need));
  return Math.min(limit, times(remaining.cpuUnits, needs.cpuUnits), times(remaining.memoryMiB, needs.memoryMiB));
}

/** What is left when that many such tasks are placed. */
export function after(remaining: Resources, needs: TaskNeeds, tasks: number): Resources {
  if (tasks === 0) return remaining;
  return {
    cpuUnits: remaining.cpuUnits - tasks * needs.cpuUnits,
    memoryMiB: remaining.memoryMiB - tasks * needs.memoryMiB,
    ports: [...remaining.ports, ...needs.ports],
    portsUdp: [...remaining.portsUdp, ...needs.portsUdp],
  };
}

/** Each thing that one more task lacks, with its numbers; empty: it fits. */
export function shortfalls(remaining: Resources, needs: TaskNeeds): readonly string[] {
  const lacks: string[] = [];
  if (needs.memoryMiB > remaining.memoryMiB) {
    lacks.push(`memory: needs ${needs.memoryMiB} MiB, has ${remaining.memoryMiB} left`);
  }
  if (needs.cpuUnits > remaining.cpuUnits) {
    lacks.push(`cpu: needs ${needs.cpuUnits} units, has ${remaining.cpuUnits} left`);
  }
  for (const port of needs.ports) if (remaining.ports.includes(port)) lacks.push(`port ${port} is taken`);
  for (const port of needs.portsUdp) if (remaining.portsUdp.includes(port)) lacks.push(`port ${port}/udp is taken`);
  return lacks;
}
