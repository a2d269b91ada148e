import type { IncomingMessage } from 'node:http';
import { problem, type Reply } from '../http/reply.ts';
import { UsageError } from '../lib/errors.ts';

export interface ControlRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly body: string;
}

/** @throws UsageError if the body is not JSON */
export function parseControlBody(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new UsageError('the body is not JSON');
  }
}

/**
 * The JSON object in a control request, which may have only these keys.
 * @param what for messages: `faults` @throws UsageError with the allowed keys
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
  const detail = `method ${method} is not allowed; use ${allowed}`;
  return problem(405, detail, { instance: path, headers: { Allow: allowed } });
}

/** A request to a simulated service. Header names are in lower case. */
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

/** Reads a body; null if it is longer than `maxBytes`. The listener's request timeout ends a client that sends too slowly. */
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
