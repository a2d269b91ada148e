import { printable } from './foreign-text.ts';

const MAX_QUOTED_CHARS = 60;

/** An invalid value for an error message: one printable line of at most 60 characters, in quotes. */
export function quote(value: unknown): string {
  if (value === undefined) return 'missing';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const line = printable(text.replace(/\s+/g, ' ').trim());
  return line.length <= MAX_QUOTED_CHARS ? `"${line}"` : `"${line.slice(0, MAX_QUOTED_CHARS)}…"`;
}

/**
 * The base of every error that a user may see. The message is one line: the action, the value, the limit or cause, and the
 * next step; no full stop. The error says whether a retry can help, so that no caller has to guess.
 */
export class RollcallError extends Error {
  override readonly name: string = 'RollcallError';
  /** Exit status: 2 for usage, 1 for a failure, 3 for `SupersededError`. */
  readonly exitCode: number = 1;
  /** True if the same call may succeed later without any change by the user. */
  readonly retryable: boolean = false;
}

/** Invalid usage: an unknown flag, a malformed URL, a value out of its range. */
export class UsageError extends RollcallError {
  override readonly name: string = 'UsageError';
  override readonly exitCode = 2;
}

/** Another agent took over this node's registration. It has its own exit status, so that the unit does not restart the agent. */
export class SupersededError extends RollcallError {
  override readonly name = 'SupersededError';
  override readonly exitCode = 3;
}

/** The answer is larger than the caller's limit; the connection was closed without reading the rest. */
export class BodyTooLargeError extends Error {
  override readonly name = 'BodyTooLargeError';
  constructor(maxBytes: number) {
    super(`the answer is larger than ${maxBytes} bytes`);
  }
}

/** What answers speaks another protocol, such as SSH. By the text that Node's client and `fetch` share: not every one has a code. */
export function isNoHttp(error: unknown): boolean {
  return error instanceof Error && /\bExpected HTTP\//.test(error.message);
}

/** One line for any thrown value: the message and its causes, outermost first, without a stack trace. At most 500 characters each, 5 deep. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let current: unknown = error, depth = 0; current !== undefined && current !== null && depth < 5; depth += 1) {
    const text = oneLine(current);
    if (text !== '' && !parts.some((part) => part.includes(text))) parts.push(text);
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join(': ') || 'unknown error';
}

/**
 * The first line of a message or of an error's, without its full stop; empty if it has none. At most 500 characters. The
 * other lines of the AWS SDK's errors, and of a command's output, are advice to programmers.
 */
export function firstLine(error: unknown): string {
  const text = typeof error === 'string' ? error : String((error as Error | null)?.message ?? '');
  return oneLine(text.trim().split('\n')[0]).replace(/\.$/, '');
}

/** With what Node's text of an untrusted certificate ends: a flag that no command of ours takes. */
const NODE_ADVICE = '; if the root CA is installed locally, try running Node.js with --use-system-ca';

/**
 * OpenSSL's text of a failure has an address of this process, different after each start, and a line of OpenSSL's source:
 * `write EPROTO 400D667A7F7F0000:error:0A00010B:SSL routines:tls_…:wrong version number:../deps/…/tlsany_meth.c:77:`.
 */
const OPENSSL =
  /(?:\b(?:read|write) EPROTO )?\b[0-9A-F]{8,}:error:[0-9A-F]{8}:[^:]*:[^:]*:([^:]+):[^:]*:\d+:(?:SSL alert number \d+)?/g;

function oneLine(error: unknown): string {
  // If a connection fails on all addresses of a host, Node throws an AggregateError without a message.
  if (error instanceof AggregateError && error.message === '') return error.errors.map(oneLine).find(Boolean) ?? '';
  const text = error instanceof Error ? error.message : String(error);
  return printable(text.replace(NODE_ADVICE, '').replace(OPENSSL, 'TLS failed: $1').replace(/\s+/g, ' '))
    .trim()
    .slice(0, 500);
}
