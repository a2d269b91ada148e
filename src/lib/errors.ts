// By the numbers of the characters: Unicode property classes take ten times as long, and a list prints 40,000 cells.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this is about
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/**
 * Text of others (a record, a key, an answer) for a terminal or a log line: without control characters, which could
 * forge further lines or steer the terminal.
 */
export function printable(text: string): string {
  // Hardly any text has one, and looking is cheaper than copying.
  return CONTROL.test(text) ? text.replaceAll(new RegExp(CONTROL, 'g'), '?') : text;
}

/**
 * Every failure a user may see. The message is one line: the action, the value, the limit or cause, and where it
 * helps the next step; no full stop. Whether a retry can help is a property of the error, not a guess of its catcher.
 */
export class RollcallError extends Error {
  override readonly name: string = 'RollcallError';
  /** 2 for usage, 1 for a failure; see `superseded` for the one other code. */
  readonly exitCode: number = 1;
  /** True when the same call may succeed later without anybody changing anything. */
  readonly retryable: boolean = false;
}

/** The user asked for something that cannot be: an unknown flag, a malformed URL, a value out of its range. */
export class UsageError extends RollcallError {
  override readonly name = 'UsageError';
  override readonly exitCode = 2;
}

/** Another session took this node's seat. An exit status of its own, so that the unit does not restart on it. */
export class SupersededError extends RollcallError {
  override readonly name = 'SupersededError';
  override readonly exitCode = 3;
}

/** One line for a person, from whatever was thrown: never a stack trace, always with the innermost useful cause. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let current: unknown = error, depth = 0; current !== undefined && current !== null && depth < 5; depth += 1) {
    const text = oneLine(current);
    if (text !== '' && !parts.some((part) => part.includes(text))) parts.push(text);
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join(': ') || 'unknown error';
}

function oneLine(error: unknown): string {
  // Happy Eyeballs failures are AggregateErrors with an empty message; their first member says what happened.
  if (error instanceof AggregateError && error.message === '') return error.errors.map(oneLine).find(Boolean) ?? '';
  const text = error instanceof Error ? error.message : String(error);
  return printable(text.replace(/\s+/g, ' ')).trim().slice(0, 500);
}
