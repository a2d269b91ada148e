import { setTimeout as sleep } from 'node:timers/promises';

/** Something that is killed without warning and started again. */
export interface Victim {
  readonly name: string;
  kill(): Promise<void>;
  start(): Promise<void>;
}

export interface Killing {
  /** How often each was killed so far. */
  kills(): Readonly<Record<string, number>>;
  /** Each was killed, and runs again. */
  sparedNobody(): boolean;
  /** Resolves after the signal, when all of them run again. */
  readonly ended: Promise<void>;
}

/**
 * Kills the victims in random order, each once in every round, and starts each again after up to a second, until
 * `signal` aborts.
 */
export function killAtRandom(victims: readonly Victim[], random: () => number, signal: AbortSignal): Killing {
  const kills: Record<string, number> = {};
  return {
    kills: () => kills,
    sparedNobody: () => victims.every(({ name }) => (kills[name] ?? 0) > 0),
    ended: killOn(victims, random, signal, kills),
  };
}

async function killOn(
  victims: readonly Victim[],
  random: () => number,
  signal: AbortSignal,
  kills: Record<string, number>,
): Promise<void> {
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
}

function shuffled<T>(all: readonly T[], random: () => number): T[] {
  return all
    .map((each) => [random(), each] as const)
    .sort(([a], [b]) => a - b)
    .map(([, each]) => each);
}
