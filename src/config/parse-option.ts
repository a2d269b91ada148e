import { InvalidArgumentError } from 'commander';
import { formatDuration, parseDuration } from '../timing/duration.ts';

/**
 * Parsers for single option values. Each throws commander's InvalidArgumentError, which commander turns into one line
 * with the flag (or the variable), the value, and the limit said here.
 */

/** @param step durations must be a multiple of this; store leases count whole seconds */
export function durationBetween(minMs: number, maxMs: number, step: 'ms' | 's' = 'ms'): (text: string) => number {
  return (text) => {
    const durationMs = parseDuration(text);
    if (durationMs === undefined) throw new InvalidArgumentError('Write a duration such as 250ms, 30s, 5m or 24h.');
    if (durationMs < minMs || durationMs > maxMs) {
      throw new InvalidArgumentError(`It must be from ${formatDuration(minMs)} to ${formatDuration(maxMs)}.`);
    }
    if (step === 's' && durationMs % 1_000 !== 0) throw new InvalidArgumentError('It must be in whole seconds.');
    return durationMs;
  };
}

export function integerBetween(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    return value;
  };
}

/** Any text but none: what an unset variable of a shell leaves of a value is a mistake, and would match or name nothing. */
export function nonEmpty(text: string): string {
  if (text === '') throw new InvalidArgumentError('It is empty: give it a value or leave it out.');
  return text;
}

/** `http://HOST[:PORT]`, as an origin without a trailing slash. */
export function httpOrigin(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isOrigin = url && /^https?:$/.test(url.protocol) && url.pathname === '/' && !url.search && !url.username;
  if (!isOrigin) throw new InvalidArgumentError('Write an address such as http://127.0.0.1:51678, without a path.');
  return url.origin;
}

/** `HOST:PORT`, `[IPv6]:PORT` or `:PORT` (all addresses). Port 0 takes a free one. */
export function listenAddress(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) {
    throw new InvalidArgumentError('Write HOST:PORT, such as 127.0.0.1:51690, or :51690 for all addresses.');
  }
  return { host: match[1] ?? (match[2] || '::'), port };
}

const MAX_LABELS = 32;

/** `k=v`, several of them apart by commas or by repeating the flag; the last value of a key wins. */
export function labels(text: string, previous: Readonly<Record<string, string>> = {}): Record<string, string> {
  const all = { ...previous };
  for (const pair of text.split(',')) {
    const match = /^([A-Za-z0-9][A-Za-z0-9._/-]{0,62})=([A-Za-z0-9 ._:/@+-]{0,128})$/.exec(pair.trim());
    if (!match) {
      throw new InvalidArgumentError(
        `"${pair.slice(0, 80)}" is not KEY=VALUE: the key has up to 63 of A-Z a-z 0-9 . _ / -, the value up to 128 of these and space : @ +.`,
      );
    }
    // Readers drop keys that are properties of every object, lest a record touch them.
    if (match[1] === 'constructor' || match[1] === 'prototype') {
      throw new InvalidArgumentError(`"${match[1]}" cannot be the key of a label.`);
    }
    all[match[1] ?? ''] = match[2] ?? '';
  }
  if (Object.keys(all).length > MAX_LABELS) throw new InvalidArgumentError(`At most ${MAX_LABELS} labels are allowed.`);
  return all;
}
