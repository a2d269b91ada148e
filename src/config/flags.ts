import { isIPv6 } from 'node:net';
import { InvalidArgumentError, Option } from 'commander';
import { formatDuration, parseDuration } from '../lib/duration.ts';

/**
 * Parsers for single option values. Each throws commander's InvalidArgumentError, which commander turns into one line
 * with the flag (or the variable), the value, and the text of this error.
 */

/** A parser that can say which values it takes, as `1s to 1h`: the page of all flags is made from it. */
type RangeParser = ((text: string) => number) & { readonly range: string };

/** @param step durations must be a multiple of this; store leases count whole seconds */
export function durationBetween(minMs: number, maxMs: number, step: 'ms' | 's' = 'ms'): RangeParser {
  const range = `${formatDuration(minMs)} to ${formatDuration(maxMs)}${step === 's' ? ', in whole seconds' : ''}`;
  return withRange(range, (text) => {
    const durationMs = parseDuration(text);
    if (durationMs === undefined) throw new InvalidArgumentError('Write a duration such as 250ms, 30s, 5m or 24h.');
    if (durationMs < minMs || durationMs > maxMs) {
      throw new InvalidArgumentError(`It must be from ${formatDuration(minMs)} to ${formatDuration(maxMs)}.`);
    }
    if (step === 's' && durationMs % 1_000 !== 0) throw new InvalidArgumentError('It must be in whole seconds.');
    return durationMs;
  });
}

export function integerBetween(min: number, max: number): RangeParser {
  return withRange(`${min} to ${max}`, (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  });
}

function withRange(range: string, parse: (text: string) => number): RangeParser {
  return Object.assign(parse, { range });
}

/** Refuses an empty text, which is what an unset variable of a shell leaves of a value. */
export function nonEmpty(text: string): string {
  if (text === '') throw new InvalidArgumentError('It is empty: give it a value or leave it out.');
  return text;
}

/** `http://HOST[:PORT]`, as an origin without a trailing slash. @param example for the error */
export function httpOrigin(example: string): (text: string) => string {
  return (text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    const isOrigin = url && /^https?:$/.test(url.protocol) && url.pathname === '/' && !url.search && !url.hash;
    if (!isOrigin || url.username || url.password)
      throw new InvalidArgumentError(`Write an address such as ${example}, without a path, a user or a password.`);
    return url.origin;
  };
}

/** `HOST:PORT`, `[IPv6]:PORT` or `:PORT` (all addresses). Port 0 takes a free port. */
export function listenAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    throw new InvalidArgumentError('Write HOST:PORT, such as 127.0.0.1:51690, or :51690 for all addresses.');
  }
  return { host: match[1] === undefined ? match[2] || '::' : ipv6(match[1]), port };
}

/** In its one short form, so that each way to write `::` means all addresses. */
function ipv6(text: string): string {
  if (!isIPv6(text)) throw new InvalidArgumentError(`"${text.slice(0, 80)}" is not an IPv6 address.`);
  return new URL(`http://[${text}]`).hostname.slice(1, -1);
}

const MAX_LABELS = 32;

/** `k=v`, several of them comma-separated or by repeating the flag; the last value of a key wins. */
export function labels(text: string, previous: Readonly<Record<string, string>> = {}): Record<string, string> {
  const all = { ...previous };
  for (const pair of text.split(',')) {
    const match = /^([A-Za-z0-9][A-Za-z0-9._/-]{0,62})=([A-Za-z0-9 ._:/@+-]{0,128})$/.exec(pair.trim());
    if (!match) {
      throw new InvalidArgumentError(
        `"${pair.slice(0, 80)}" is not KEY=VALUE: the key has up to 63 of A-Z a-z 0-9 . _ / -, the value up to 128 of these and space : @ +.`,
      );
    }
    // Readers drop keys that every object has as a property.
    if (match[1] === 'constructor' || match[1] === 'prototype') {
      throw new InvalidArgumentError(`"${match[1]}" cannot be the key of a label.`);
    }
    all[match[1] ?? ''] = match[2] ?? '';
  }
  if (Object.keys(all).length > MAX_LABELS) throw new InvalidArgumentError(`At most ${MAX_LABELS} labels are allowed.`);
  return all;
}

/** Reads `15%`, `15` or `2.5%` as 15, 15 and 2.5. A share such as `0.15` is refused: it would mean 0.15 percent. */
export function percentBetween(min: number, max: number): RangeParser {
  return withRange(`${min}% to ${max}%`, (text) => {
    const percent = Number(/^(\d{1,3}(?:\.\d{1,3})?)%?$/.exec(text)?.[1] ?? Number.NaN);
    if (!(percent >= min && percent <= max)) {
      throw new InvalidArgumentError(`Write a percentage from ${min}% to ${max}%, such as 15%.`);
    }
    return percent;
  });
}

/**
 * The words of a command, for running it without a shell: split at blanks; '…' and "…" keep what is between them, a
 * backslash keeps the character after it (within "…" only " and \, as in a shell). Nothing is expanded.
 * @throws InvalidArgumentError for a quote that is not closed, or when no program is named
 */
export function parseCommand(text: string): readonly [string, ...string[]] {
  const words: string[] = [];
  // Null between words; '' is a word.
  let word: string | null = null;
  let quote: '"' | "'" | null = null;
  for (let index = 0; index < text.length; index += 1) {
    const character = text.charAt(index);
    const following = text.charAt(index + 1);
    if (character === quote) quote = null;
    else if (character === '\\' && quote !== "'" && (quote === null || following === '"' || following === '\\')) {
      if (following === '') throw new InvalidArgumentError('It ends in a backslash: write \\\\ for the character.');
      word = (word ?? '') + following;
      index += 1;
    } else if (quote === null && (character === '"' || character === "'")) {
      quote = character;
      word ??= '';
    } else if (quote === null && /\s/.test(character)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? '') + character;
  }
  if (quote) throw new InvalidArgumentError(`A ${quote} is not closed.`);
  if (word !== null) words.push(word);
  const [program, ...rest] = words;
  if (!program) throw new InvalidArgumentError('It names no program.');
  if (text.includes('\0')) throw new InvalidArgumentError('It has a NUL character.');
  return [program, ...rest];
}

/** Splits a text at `separator` where it is neither within quotes nor after a backslash; the rest stays as it is. */
export function splitUnquoted(text: string, separator: string): string[] {
  // The same quoting as in parseCommand; a quote that is not closed reaches to the end, and parseCommand refuses it.
  const token = /\\[\s\S]|'[^']*(?:'|$)|"(?:\\[\s\S]|[^"\\])*(?:"|$)|[\s\S]/g;
  const parts = [''];
  for (const [piece] of text.matchAll(token)) {
    if (piece === separator) parts.push('');
    else parts[parts.length - 1] += piece;
  }
  return parts;
}

/** Host ports, each once. */
export interface HostPorts {
  readonly tcp: readonly number[];
  readonly udp: readonly number[];
}

const NO_PORTS: HostPorts = { tcp: [], udp: [] };

/** `8080`, `8080/tcp`, `9090/udp`; several comma-separated or by repeating the flag. */
export function hostPorts(text: string, previous: HostPorts = NO_PORTS): HostPorts {
  const tcp = new Set(previous.tcp);
  const udp = new Set(previous.udp);
  for (const part of text.split(',')) {
    const match = /^(\d{1,5})(?:\/(tcp|udp))?$/.exec(part.trim());
    const port = Number(match?.[1]);
    if (!match || port < 1 || port > 65_535) {
      throw new InvalidArgumentError(
        `"${part.slice(0, 40)}" is not PORT or PORT/udp, such as 8080,9090/udp, from 1 to 65535.`,
      );
    }
    (match[2] === 'udp' ? udp : tcp).add(port);
  }
  return { tcp: [...tcp], udp: [...udp] };
}

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export function logLevelOption(): Option {
  return new Option('--log-level <level>', 'lowest level of the log lines and warnings on stderr')
    .env('ROLLCALL_LOG_LEVEL')
    .default('info')
    .choices([...LOG_LEVELS]);
}

export type OutputFormat = 'text' | 'wide' | 'json' | 'ndjson';
/** Of a list of nodes; `name`: the ids alone. */
export type ListFormat = OutputFormat | 'name';

/** @param more formats that only some commands have */
export function outputOption(...more: readonly 'name'[]): Option {
  return new Option('-o, --output <format>', 'output format')
    .env('ROLLCALL_OUTPUT')
    .default('text')
    .choices(['text', 'wide', 'json', 'ndjson', ...more]);
}

/** Whether a line of `severity` is written at `level`. */
export function isLogged(level: LogLevel, severity: LogLevel): boolean {
  return LOG_LEVELS.indexOf(severity) >= LOG_LEVELS.indexOf(level);
}
