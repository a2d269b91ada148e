import { UsageError } from '../errors.ts';
import { EVENT_KINDS, type EventKind } from '../record/event.ts';
import { parseEventKind } from '../record/event-filter.ts';
import { refuseCluster } from '../record/refuse-cluster.ts';
import { parseRevision } from '../registry/event-source.ts';
import type { StreamRequest } from './roll-source.ts';
import type { WatchOptions } from './rollcall-client.ts';

/** @throws UsageError that names the value and what is allowed */
export function parseWatchOptions({ since = null, cluster, types }: WatchOptions): StreamRequest {
  return {
    since: since === null ? null : revision(since),
    cluster: cluster === undefined ? null : clusters(named('cluster', [cluster].flat())),
    kinds: types === undefined ? null : named('types', types).map(eventKind),
  };
}

function revision(text: string): string {
  const parsed = parseRevision(String(text));
  if (parsed !== undefined) return parsed;
  throw new UsageError(`since ${quote(text)}: expected a store revision, a decimal number, as events carry in cursor`);
}

function clusters(names: readonly string[]): readonly string[] {
  const refusal = refuseCluster(names);
  if (refusal === null) return names;
  throw new UsageError(refusal);
}

function eventKind(text: string): EventKind {
  const kind = parseEventKind(text);
  if (kind !== undefined) return kind;
  throw new UsageError(`types ${quote(text)} is not known; allowed: ${EVENT_KINDS.join(', ')}`);
}

/** An empty list would accept nobody: it is more likely a variable that was not set. */
function named<T extends string>(option: string, values: readonly T[]): readonly T[] {
  if (values.length > 0 && values.every((value) => value !== '')) return values;
  throw new UsageError(`${option} is empty; give it a value or leave it out`);
}

function quote(value: unknown): string {
  return JSON.stringify(String(value).slice(0, 64));
}
