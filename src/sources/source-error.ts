import { RollcallError } from '../lib/errors.ts';

/** A source on this node (IMDS, ecs-agent, a file) did not answer, or answered what cannot be. Reading again may help. */
export class SourceError extends RollcallError {
  override readonly name: string = 'SourceError';
  override readonly retryable = true;
  /** True when the source as a whole is not there: reading another of its paths now would fail in the same way. */
  readonly unreachable: boolean;
  constructor(message: string, options: { readonly unreachable?: boolean; readonly cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.unreachable = options.unreachable ?? false;
  }
}

const MAX_QUOTED_CHARS = 60;

/** Offending text for an error message: on one line, without control characters, cut short. */
export function quote(text: string): string {
  const line = text.replace(/[\s\p{Cc}]+/gu, ' ').trim();
  return line.length <= MAX_QUOTED_CHARS ? `"${line}"` : `"${line.slice(0, MAX_QUOTED_CHARS)}…"`;
}

/**
 * A JSON object from a source's answer, whatever content type it came with: ecs-agent 1.0.0 and IMDS send JSON as text.
 * @throws SourceError for an HTML page, a truncated body, or JSON that is not an object
 */
export function parseObject(action: string, text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SourceError(`${action}: expected a JSON object, got ${quote(text)}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SourceError(`${action}: expected a JSON object, got ${quote(text)}`);
  }
  return value as Record<string, unknown>;
}

/** One read of several: what it gave, or why it gave nothing. Rejects with the signal's reason, or for a defect. */
export async function attempt<T>(work: () => Promise<T>): Promise<{ value: T } | { error: SourceError }> {
  try {
    return { value: await work() };
  } catch (error) {
    if (error instanceof SourceError) return { error };
    throw error;
  }
}
