import type { Interruption } from '../record/record.ts';
import { parseInstant } from './parse-instant.ts';
import { quote } from './quote.ts';
import { SourceError } from './source-error.ts';

const ACTION = 'IMDS events/maintenance/scheduled';

/** Events that are over stay listed for days; AWS writes `canceled`. */
const OVER = new Set(['completed', 'canceled', 'cancelled']);

/**
 * The next of the scheduled events, with its code (`instance-reboot`, `system-reboot`, `system-maintenance`,
 * `instance-retirement`, `instance-stop`) as the action; null when none lies ahead or is under way:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/viewing_scheduled_events.html
 * @throws SourceError when it is no list of events; a date that cannot be read is unknown, for the event stands without it
 */
export function parseMaintenanceNotice(text: string): Interruption | null {
  const ahead = parseList(text)
    .map((event) => parseEvent(event, text))
    .filter((event) => event !== null);
  // By the code too, so that the list's order cannot change the record; an unknown date comes last.
  const [next] = ahead.sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
  return next ?? null;
}

function sortKey({ time, action }: Interruption): string {
  return `${time ?? '~'} ${action}`;
}

function parseList(text: string): readonly unknown[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SourceError(`${ACTION}: expected a list of events, got ${quote(text)}`, { cause });
  }
  if (!Array.isArray(value)) throw new SourceError(`${ACTION}: expected a list of events, got ${quote(text)}`);
  return value;
}

function parseEvent(event: unknown, text: string): Interruption | null {
  const { Code: code, NotBefore: notBefore, State: state } = Object(event) as Record<string, unknown>;
  if (typeof code !== 'string' || !/^[a-z]+(-[a-z]+)*$/.test(code) || code.length > 64) {
    throw new SourceError(`${ACTION}: Code: expected an event's code, got ${quote(text)}`);
  }
  if (typeof state === 'string' && OVER.has(state.toLowerCase())) return null;
  return { kind: 'maintenance', action: code, time: typeof notBefore === 'string' ? parseInstant(notBefore) : null };
}
