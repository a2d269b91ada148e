import { STATUS_CODES } from 'node:http';
import type { Reply } from './reply.ts';

export interface ProblemOptions {
  /** The path that was asked for. */
  readonly instance?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Members of its own beside the standard ones. */
  readonly extension?: Readonly<Record<string, unknown>>;
}

/**
 * An error as RFC 9457 has it. `type` is `about:blank`: the status says what kind of problem it is, `detail` what went
 * wrong this time, with the value and what would be allowed.
 */
export function problem(status: number, detail: string, options: ProblemOptions = {}): Reply {
  const { instance, headers = {}, extension = {} } = options;
  const title = STATUS_CODES[status] ?? 'Unknown';
  const body = { type: 'about:blank', title, status, detail, ...(instance === undefined ? {} : { instance }) };
  return {
    status,
    contentType: 'application/problem+json',
    headers,
    body: `${JSON.stringify({ ...body, ...extension })}\n`,
  };
}
