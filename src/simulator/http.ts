import type { IncomingMessage } from 'node:http';
import { problem, type Reply } from '../http/reply.ts';
import { UsageError } from '../lib/errors.ts';

export interface ControlRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly body: string;
}

/** @throws UsageError when it is not JSON */
export function parseControlBody(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new UsageError('the body is not JSON');
  }
}

/**
 * The JSON object that a control request carries, with no other keys than these.
 * @throws UsageError naming what is allowed @param what for messages: `faults`
 */
export function requireObject<Key extends string>(
  what: string,
  keys: readonly Key[],
  value: unknown,
): Partial<Readonly<Record<Key, unknown>>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new UsageError(`${what}: expected a JSON object with any of ${keys.join(', ')}`);
  }
  const unknown = Object.keys(value).find((key) => !keys.some((one) => one === key));
  if (unknown === undefined) return value;
  throw new UsageError(`${what}: unknown key ${JSON.stringify(unknown)}; use any of ${keys.join(', ')}`);
}

export function methodNotAllowed(method: string, path: string, allowed: string): Reply {
  const detail = `method ${method} is not allowed; ${allowed} is`;
  return problem(405, detail, { instance: path, headers: { Allow: allowed } });
}

/** What the simulated services see of a request. Header names are in lower case. */
export interface SimulatedRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

export interface SimulatedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export function simulatedAnswer(
  status: number,
  contentType: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): SimulatedAnswer {
  return { status, headers: { 'Content-Type': contentType, ...headers }, body };
}

/** null when it is longer than `maxBytes`. The listener's request timeout ends a client that sends it too slowly. */
export async function readBody(req: IncomingMessage, maxBytes: number): Promise<string | null> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
