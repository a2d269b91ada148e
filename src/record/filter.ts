import { quote } from '../lib/errors.ts';
import { clusterName } from './cluster-name.ts';
import { HEALTH_STATUSES, type HealthStatus, type NodeRecord } from './record.ts';
import { PRESENCE_STATES, type PresenceState, presenceState, type RollEntry } from './roll.ts';
import type { NodeSummary } from './summary.ts';

/**
 * The language in which nodes are selected, one for the command line (`--cluster a,b`), HTTP (`?cluster=a,b`) and the
 * client (`{ cluster: ['a', 'b'] }`). A node must meet every criterion; within one, any of the values.
 */

/** Each criterion is a set of accepted values; null accepts everything. All terms of the selector must be met. */
export interface RollFilter {
  readonly cluster: ReadonlySet<string> | null;
  readonly health: ReadonlySet<HealthStatus> | null;
  readonly presence: ReadonlySet<PresenceState> | null;
  readonly az: ReadonlySet<string> | null;
  readonly selector: readonly LabelTerm[] | null;
}

/** One condition on a label. `values` of a node without the key: `equals` and `exists` are not met, the others are. */
type LabelTerm =
  | { readonly kind: 'equals'; readonly key: string; readonly value: string }
  | { readonly kind: 'differs'; readonly key: string; readonly value: string }
  | { readonly kind: 'exists'; readonly key: string }
  | { readonly kind: 'absent'; readonly key: string };

/** The criteria by name, as a flag, a parameter of a query and an option of the client have them. */
export const FILTER_NAMES = ['cluster', 'health', 'presence', 'az', 'selector'] as const;
export type FilterName = (typeof FILTER_NAMES)[number];

/** The texts of the criteria, each with one value or several, comma-separated or in several texts. */
export type FilterTexts = { readonly [Name in FilterName]?: readonly string[] | undefined };

/** Accepts every node. */
export const EVERY_NODE: RollFilter = { cluster: null, health: null, presence: null, az: null, selector: null };

/** A criterion that cannot be read. The message is one line with the criterion, the value and what is allowed. */
export class FilterError extends Error {
  override readonly name = 'FilterError';
}

/** @throws FilterError */
export function parseFilter(texts: FilterTexts): RollFilter {
  const presence = known('presence', [...PRESENCE_STATES, 'all'], texts.presence);
  return {
    cluster: setOf(valuesOf('cluster', texts.cluster)?.map(cluster)),
    health: known('health', HEALTH_STATUSES, texts.health),
    presence: presence?.has('all') ? null : (presence as ReadonlySet<PresenceState> | null),
    az: setOf(valuesOf('az', texts.az)),
    selector: labelTerms(valuesOf('selector', texts.selector)),
  };
}

/** Each costs a look at each node. */
const MAX_TERMS = 32;

function labelTerms(texts: readonly string[] | null): readonly LabelTerm[] | null {
  if (texts === null) return null;
  if (texts.length > MAX_TERMS) throw new FilterError(`selector has ${texts.length} conditions; at most ${MAX_TERMS}`);
  return texts.map(labelTerm);
}

/** The values of a criterion, each of which is set; null: it is not given. @throws FilterError */
function valuesOf(name: FilterName, texts: readonly string[] | undefined): readonly string[] | null {
  if (texts === undefined) return null;
  const found = texts.flatMap((text) => text.split(',')).map((value) => value.trim());
  if (found.length === 0 || found.includes(''))
    throw new FilterError(`${name} has an empty value; set a value or remove it`);
  return found;
}

function known<T extends string>(
  name: FilterName,
  allowed: readonly T[],
  texts: readonly string[] | undefined,
): ReadonlySet<T> | null {
  const found = valuesOf(name, texts);
  if (found === null) return null;
  return new Set(
    found.map((text) => {
      const value = allowed.find((each) => each === text.toLowerCase());
      if (value !== undefined) return value;
      throw new FilterError(`${name} ${quote(text)} is not known; allowed: ${allowed.join(', ')}`);
    }),
  );
}

function cluster(text: string): string {
  const name = clusterName(text);
  if (name !== undefined) return name;
  throw new FilterError(`cluster ${quote(text)} is not the name or the ARN of a cluster`);
}

/** The keys and values that `rollcall agent --label` takes. */
const KEY = '[A-Za-z0-9][A-Za-z0-9._/-]{0,62}';
const TERM = new RegExp(`^(!)?(${KEY})(?:\\s*(==|=|!=)\\s*([A-Za-z0-9 ._:/@+-]{0,128}))?$`);

function labelTerm(text: string): LabelTerm {
  const [, not, key = '', operator, value = ''] = TERM.exec(text) ?? [];
  const isOneOf = key !== '' && (not === undefined || operator === undefined);
  if (!isOneOf) {
    throw new FilterError(`selector ${quote(text)} is not a condition; allowed: key=value, key!=value, key, !key`);
  }
  if (operator === undefined) return { kind: not === undefined ? 'exists' : 'absent', key };
  return { kind: operator === '!=' ? 'differs' : 'equals', key, value };
}

function setOf<T>(items: readonly T[] | null | undefined): ReadonlySet<T> | null {
  return items == null ? null : new Set(items);
}

/** What a filter looks at. A summary has no labels: with a selector the record itself is needed. */
type Filtered = NodeSummary & { readonly labels?: NodeRecord['labels'] };

/** True if the filter accepts every node. */
export function acceptsAll(filter: RollFilter): boolean {
  return Object.values(filter).every((accepted) => accepted === null);
}

/** An unknown value of a node meets only the criterion null. */
export function matchesFilter(entry: RollEntry<Filtered>, filter: RollFilter): boolean {
  const { record } = entry;
  // What is not asked for takes no call: 10,000 entries pass here.
  return (
    (filter.presence === null || filter.presence.has(presenceState(entry))) &&
    (filter.cluster === null || accepts(filter.cluster, record.cluster)) &&
    (filter.health === null || filter.health.has(record.health.status)) &&
    (filter.az === null || accepts(filter.az, record.availabilityZone)) &&
    (filter.selector === null || filter.selector.every((term) => meets(record.labels ?? {}, term)))
  );
}

export function filterRoll<R extends Filtered>(
  entries: readonly RollEntry<R>[],
  filter: RollFilter,
): readonly RollEntry<R>[] {
  return acceptsAll(filter) ? entries : entries.filter((entry) => matchesFilter(entry, filter));
}

function accepts<T extends string>(accepted: ReadonlySet<T>, value: T | null): boolean {
  return value !== null && accepted.has(value);
}

function meets(labels: NodeRecord['labels'], term: LabelTerm): boolean {
  const value = Object.hasOwn(labels, term.key) ? labels[term.key] : undefined;
  switch (term.kind) {
    case 'exists':
      return value !== undefined;
    case 'absent':
      return value === undefined;
    case 'equals':
      return value === term.value;
    case 'differs':
      return value !== term.value;
  }
}

/**
 * One line for each value that no node on the roll has, with those there are: it may be misspelled. Empty on an empty roll,
 * which has none of anything.
 * @param entries all nodes of the roll, whatever the filter accepts
 */
export function describeUnmatched(entries: readonly RollEntry<Filtered>[], filter: RollFilter): readonly string[] {
  if (entries.length === 0) return [];
  return [
    ...missing('in cluster', 'clusters', filter.cluster, () => entries.map(({ record }) => record.cluster)),
    ...missing('in zone', 'zones', filter.az, () => entries.map(({ record }) => record.availabilityZone)),
    ...missingLabels(entries, filter.selector ?? []),
  ];
}

function missing(
  what: string,
  plural: string,
  asked: ReadonlySet<string> | null,
  present: () => readonly (string | null)[],
): readonly string[] {
  if (asked === null) return [];
  const there = new Set(present().filter((value) => value !== null));
  const unknown = [...asked].filter((value) => !there.has(value));
  if (unknown.length === 0) return [];
  const named = thereAre(plural, there);
  return unknown.map((value) => `no node is ${what} ${quote(value)}; ${named}`);
}

/** A condition that a label is absent or another is met by a roll without the label. */
function missingLabels(entries: readonly RollEntry<Filtered>[], terms: readonly LabelTerm[]): readonly string[] {
  const asked = terms.filter(({ kind }) => kind === 'equals' || kind === 'exists');
  if (asked.length === 0) return [];
  const valuesByKey = new Map<string, Set<string>>();
  for (const { record } of entries) {
    for (const [key, value] of Object.entries(record.labels ?? {})) {
      const values = valuesByKey.get(key);
      if (values) values.add(value);
      else valuesByKey.set(key, new Set([value]));
    }
  }
  const labels = thereAre('labels', new Set(valuesByKey.keys()));
  return asked.flatMap((term) => {
    const values = valuesByKey.get(term.key);
    if (!values) return [`no node has the label ${quote(term.key)}; ${labels}`];
    if (term.kind !== 'equals' || values.has(term.value)) return [];
    return [`no node has the label ${term.key}=${quote(term.value)}; ${thereAre('values', values)}`];
  });
}

const MAX_NAMED = 10;

function thereAre(plural: string, there: ReadonlySet<string>): string {
  if (there.size === 0) return `there are no ${plural}`;
  const names = [...there].sort();
  const more = names.length - MAX_NAMED;
  // A label's value may be empty or have blanks.
  const shown = names.slice(0, MAX_NAMED).map((name) => (/^[\w./-]{1,60}$/.test(name) ? name : quote(name)));
  return `${plural}: ${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
