export interface LoggedRequest {
  readonly operation: string;
  /** RFC 3339. */
  readonly at: string;
  /** Monotonic. */
  readonly atMs: number;
  /** AWS's error code, the name of a fault that spoilt the answer, or null. */
  readonly error: string | null;
}

export interface RequestLog {
  readonly counts: ReadonlyMap<string, { readonly requests: number; readonly errors: number }>;
  /** The latest ones, oldest first. */
  readonly recent: readonly LoggedRequest[];
}

export const NO_REQUESTS: RequestLog = { counts: new Map(), recent: [] };

/** What an audit of 10,000 nodes asks, several times over. */
const MAX_RECENT = 2_000;

export function logRequest({ counts, recent }: RequestLog, request: LoggedRequest): RequestLog {
  const { requests, errors } = counts.get(request.operation) ?? { requests: 0, errors: 0 };
  const count = { requests: requests + 1, errors: errors + (request.error === null ? 0 : 1) };
  const kept = recent.length < MAX_RECENT ? recent : recent.slice(1);
  return { counts: new Map(counts).set(request.operation, count), recent: [...kept, request] };
}

/** For the control server. `highestPerSecond`: the most of the recent ones within any one second. */
export function describeRequests({ counts, recent }: RequestLog): unknown {
  let first = 0;
  let highestPerSecond = 0;
  for (const [index, { atMs }] of recent.entries()) {
    while (atMs - (recent[first]?.atMs ?? atMs) >= 1_000) first += 1;
    highestPerSecond = Math.max(highestPerSecond, index - first + 1);
  }
  const shown = recent.map(({ operation, at, error }) => ({ at, operation, error }));
  return { operations: Object.fromEntries(counts), highestPerSecond, recent: shown };
}
