import { FutureRevisionError, parseRevision } from '../registry/event-source.ts';
import { AgentError } from './agent-error.ts';

/** An answer that is not the one asked for. */
export interface RefusedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** An agent that asks for more is asked again after this all the same. */
const MAX_RETRY_AFTER_MS = 30_000;
/** Refusals that pass: a timeout, too early, too many requests. What a server says of itself (5xx) passes as well. */
const PASSING = [408, 425, 429];

/** What an answer other than 200 means, in the words of its problem body (RFC 9457) where it has one. */
export function refusal(action: string, answer: RefusedAnswer): AgentError | FutureRevisionError {
  const { status, headers, text } = answer;
  const problem = problemOf(text);
  const { since, current } = problem;
  if (status === 400 && isRevision(since) && isRevision(current)) return new FutureRevisionError(since, current);
  const detail = typeof problem['detail'] === 'string' ? `: ${problem['detail']}` : '';
  return new AgentError(`${action}: HTTP ${status}${detail}`, {
    status,
    retryable: status >= 500 || PASSING.includes(status),
    retryAfterMs: retryAfterMs(headers['retry-after']),
  });
}

function problemOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
  } catch {
    return {};
  }
}

function isRevision(value: unknown): value is string {
  return typeof value === 'string' && parseRevision(value) !== undefined;
}

/** In seconds; the form with a date is not used by agents. */
function retryAfterMs(header: string | string[] | undefined): number {
  return /^\d{1,6}$/.test(String(header)) ? Math.min(Number(header) * 1_000, MAX_RETRY_AFTER_MS) : 0;
}
