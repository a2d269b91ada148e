import { setTimeout as sleep } from 'node:timers/promises';

/** Something that is killed without warning and started again. */
export interface Victim {
  readonly name: string;
  kill(): Promise<void>;
  start(): Promise<void>;
}

/**
 * Kills the victims in random order, each once in every round, and starts each again after up to a second, until
 * `signal` aborts; all of them run then. Answers how often each was killed.
 */
export async function killAtRandom(
  victims: readonly Victim[],
  random: () => number,
  signal: AbortSignal,
): Promise<Readonly<Record<string, number>>> {
  const kills: Record<string, number> = {};
  while (!signal.aborted) {
    for (const victim of shuffled(victims, random)) {
      const [aliveMs, deadMs] = [500 + 1_500 * random(), 1_000 * random()];
      await sleep(aliveMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) break;
      await victim.kill();
      await sleep(deadMs);
      await victim.start();
      kills[victim.name] = (kills[victim.name] ?? 0) + 1;
    }
  }
  return kills;
}

function shuffled<T>(all: readonly T[], random: () => number): T[] {
  return all
    .map((each) => [random(), each] as const)
    .sort(([a], [b]) => a - b)
    .map(([, each]) => each);
}
