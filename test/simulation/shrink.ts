import type { Parts } from './agent.ts';
import { type Fault, READERS, type Scenario } from './scenario.ts';
import { simulate } from './simulate.ts';

/** One simulation more takes this much less, so a scenario of many faults has an end. */
const MAX_RUNS = 250;

/**
 * The fewest faults, nodes, members and minutes with which the same promise is broken, as far as can be found by leaving
 * out one after the other.
 * @param limitMs no simulation begins later, on the clock of the machine
 */
export async function shrink(scenario: Scenario, parts: Parts, limitMs: number): Promise<Scenario> {
  const first = await simulate(scenario, parts);
  const { violation } = first;
  if (violation === null) return scenario;
  const untilMs = performance.now() + limitMs;
  let best = scenario;
  let runs = 0;

  const tryOut = async (candidate: Scenario): Promise<boolean> => {
    if (runs >= MAX_RUNS || performance.now() > untilMs) return false;
    runs += 1;
    const outcome = await simulate(candidate, parts);
    if (outcome.violation?.invariant !== violation.invariant) return false;
    const minutes = Math.min(candidate.minutes, Math.ceil(outcome.violation.atMs / 60_000) + 1);
    best = { ...candidate, minutes };
    return true;
  };

  const { atMs } = violation;
  await tryOut({
    ...best,
    minutes: Math.ceil(atMs / 60_000) + 1,
    faults: best.faults.filter((each) => each.atMs <= atMs),
  });
  for (let size = Math.ceil(best.faults.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = best.faults.length - size; from > -size; from -= size) {
      const faults = best.faults.filter((_, index) => index < from || index >= from + size);
      if (faults.length < best.faults.length) await tryOut({ ...best, faults });
    }
  }
  if (best.members > 1) await tryOut({ ...best, members: 1 });
  for (const readers of [0, 1]) if (readers < best.readers && (await tryOut({ ...best, readers }))) break;
  for (let nodes = 1; nodes < best.nodes; nodes *= 2) {
    if (
      (await tryOut({ ...best, nodes, faults: renumbered(best.faults, nodes) })) ||
      (await tryOut({ ...best, nodes }))
    )
      break;
  }
  return best;
}

/** The nodes that faults name, as the first ones; those that are too many share the last. */
function renumbered(faults: readonly Fault[], nodes: number): readonly Fault[] {
  const named = [...new Set(faults.map(({ host }) => host).filter((host) => host < READERS))];
  return faults.map((fault) =>
    fault.host >= READERS ? fault : { ...fault, host: Math.min(named.indexOf(fault.host), nodes - 1) },
  );
}
