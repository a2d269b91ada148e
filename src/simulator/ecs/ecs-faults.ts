import { UsageError } from '../../errors.ts';
import { requireObject } from '../require-object.ts';
import { OPERATION_NAMES } from './answer-ecs.ts';

/**
 * `throttle`, `deny`, `expire` and `error500` refuse a request as AWS does. Under `slow`, `hang`, `cut` and `garbage`
 * it takes effect, and only the answer is late, missing, broken off or no JSON.
 */
export const ECS_FAULTS = ['none', 'throttle', 'deny', 'expire', 'error500', 'slow', 'hang', 'cut', 'garbage'] as const;

export interface EcsFault {
  readonly fault: (typeof ECS_FAULTS)[number];
  /** How many requests more it meets; null: all from now on. */
  readonly times: number | null;
  /** Of the requests, above 0 to 1; evenly spread, not by chance. */
  readonly share: number;
  /** Of `slow`. */
  readonly delayMs: number;
  /** Requests that it might have met. */
  readonly seen: number;
}

/** By operation; those of `all` meet every operation that has none of its own. */
export type EcsFaults = ReadonlyMap<string, EcsFault>;

const DEFAULT_DELAY_MS = 1_000;

/** What becomes of the next request, and the faults after it. */
export function nextFault(faults: EcsFaults, operation: string): { faults: EcsFaults; fault: EcsFault | null } {
  const name = faults.has(operation) ? operation : 'all';
  const fault = faults.get(name);
  if (!fault) return { faults, fault: null };
  const seen = fault.seen + 1;
  const met = Math.floor(seen * fault.share) > Math.floor(fault.seen * fault.share);
  const times = met && fault.times !== null ? fault.times - 1 : fault.times;
  const after = new Map(faults);
  if (times === 0) after.delete(name);
  else after.set(name, { ...fault, seen, times });
  return { faults: after, fault: met ? fault : null };
}

/**
 * Reads `{"ListClusters":{"fault":"throttle","times":3},"all":"slow"}` over the present ones; what it does not name stays.
 * @throws UsageError naming what is allowed
 */
export function parseEcsFaults(present: EcsFaults, value: unknown): EcsFaults {
  const faults = new Map(present);
  for (const [name, asked] of Object.entries(requireObject('ECS faults', ['all', ...OPERATION_NAMES], value))) {
    const fault = parseFault(name, asked);
    if (fault.fault === 'none') faults.delete(name);
    else faults.set(name, fault);
  }
  return faults;
}

function parseFault(name: string, value: unknown): EcsFault {
  const members = requireObject(
    `fault of ${name}`,
    ['fault', 'times', 'share', 'delayMs'],
    typeof value === 'string' ? { fault: value } : value,
  );
  const { fault: asked, times = null, share = 1, delayMs = DEFAULT_DELAY_MS } = members;
  const fault = ECS_FAULTS.find((one) => one === asked);
  if (fault === undefined) {
    throw new UsageError(`fault of ${name}: ${JSON.stringify(asked)}: unknown; use one of ${ECS_FAULTS.join(', ')}`);
  }
  if (times !== null && !(Number.isSafeInteger(times) && Number(times) > 0))
    throw new UsageError(`fault of ${name}: times: expected a whole number above 0, got ${JSON.stringify(times)}`);
  if (typeof share !== 'number' || !(share > 0 && share <= 1))
    throw new UsageError(`fault of ${name}: share: expected a number above 0 to 1, got ${JSON.stringify(share)}`);
  if (typeof delayMs !== 'number' || !(delayMs >= 0 && delayMs <= 120_000))
    throw new UsageError(`fault of ${name}: delayMs: expected 0 to 120000, got ${JSON.stringify(delayMs)}`);
  return { fault, times: times as number | null, share, delayMs, seen: 0 };
}
