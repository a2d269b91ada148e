import { type BoardNode, byMood, compareKeys, haystackOf, isInTile, type Tile } from './nodes.ts';

/** What of the roll is shown, and how. It stands in the page's address, so that it can be sent to a colleague. */
export interface View {
  readonly cluster: string | null;
  readonly zone: string | null;
  readonly type: string | null;
  readonly agent: string | null;
  /** `name=value`. */
  readonly label: string | null;
  readonly tile: Tile | null;
  /** Words that must all be in a node's texts. */
  readonly search: string;
  readonly sort: SortField;
  readonly descending: boolean;
  readonly tab: Tab;
  /** The instance id of the node that is shown whole; null: the table is shown. */
  readonly node: string | null;
}

export const SORT_FIELDS = [
  'state',
  'address',
  'instance',
  'cluster',
  'zone',
  'health',
  'since',
  'agent',
  'notice',
  'labels',
] as const;
export type SortField = (typeof SORT_FIELDS)[number];

const TABS = ['nodes', 'audit', 'drains'] as const;
export type Tab = (typeof TABS)[number];

const TILES: readonly Tile[] = ['present', 'passing', 'warning', 'critical', 'lost', 'departed', 'notices', 'draining'];

const NO_FILTER = { zone: null, type: null, agent: null, label: null, tile: null, search: '' } as const;

export const DEFAULT_VIEW: View = {
  cluster: null,
  ...NO_FILTER,
  sort: 'health',
  descending: false,
  tab: 'nodes',
  node: null,
};

/** @param query of the page's address; what is unknown or wrong in it is the default */
export function viewOfQuery(query: URLSearchParams): View {
  const sort = query.get('sort') ?? '';
  const field = sort.replace(/^-/, '');
  return {
    cluster: query.get('cluster') || null,
    zone: query.get('az') || null,
    type: query.get('type') || null,
    agent: query.get('agent') || null,
    label: query.get('label') || null,
    tile: TILES.find((tile) => tile === query.get('show')) ?? null,
    search: query.get('q') ?? '',
    sort: SORT_FIELDS.find((each) => each === field) ?? DEFAULT_VIEW.sort,
    descending: sort.startsWith('-'),
    tab: TABS.find((tab) => tab === query.get('tab')) ?? 'nodes',
    node: query.get('node') || null,
  };
}

/** The reverse of `viewOfQuery`, without what is the default; '' or a query with its question mark. */
export function queryOfView(view: View): string {
  const query = new URLSearchParams();
  const set = (name: string, value: string | null, usual: string | null = null) => {
    if (value && value !== usual) query.set(name, value);
  };
  set('cluster', view.cluster);
  set('az', view.zone);
  set('type', view.type);
  set('agent', view.agent);
  set('label', view.label);
  set('show', view.tile);
  set('q', view.search);
  set('sort', `${view.descending ? '-' : ''}${view.sort}`, DEFAULT_VIEW.sort);
  set('tab', view.tab, 'nodes');
  set('node', view.node);
  return query.size === 0 ? '' : `?${query}`;
}

export function isFiltered(view: View): boolean {
  return Object.entries(NO_FILTER).some(([name, none]) => view[name as keyof typeof NO_FILTER] !== none);
}

/** The view without any filter but the cluster. */
export function unfiltered(view: View): View {
  return { ...view, ...NO_FILTER };
}

/** The same question to `/v1/containerInstances`, as far as it can be asked there. */
export function apiPath({ cluster, zone, tile, label }: View): string {
  const query = new URLSearchParams();
  if (cluster) query.set('cluster', cluster);
  if (zone) query.set('az', zone);
  // A comma would begin the next term.
  if (label && !label.includes(',')) query.set('selector', label);
  if (tile === 'passing' || tile === 'warning' || tile === 'critical') query.set('health', tile);
  if (tile === 'lost' || tile === 'departed') query.set('presence', tile);
  if (tile === null || tile === 'draining') query.set('presence', 'all');
  return `/v1/containerInstances${query.size === 0 ? '' : `?${query}`}`;
}

/** The nodes that the view shows, sorted. @param ec2Ms now on EC2's clock */
export function selectNodes(
  nodes: Iterable<BoardNode>,
  view: View,
  draining: ReadonlySet<string>,
  ec2Ms: number,
): readonly BoardNode[] {
  const words = view.search.toLowerCase().split(/\s+/).filter(Boolean);
  const { tile } = view;
  const found: BoardNode[] = [];
  for (const node of nodes) {
    if (
      (view.cluster === null || node.cluster === view.cluster) &&
      (view.zone === null || (node.zone ?? UNKNOWN) === view.zone) &&
      (view.type === null || (node.type ?? UNKNOWN) === view.type) &&
      (view.agent === null || (node.agentVersion ?? UNKNOWN) === view.agent) &&
      (view.label === null || node.labels.includes(view.label)) &&
      (tile === null || isInTile(tile, node, draining, ec2Ms)) &&
      words.every((word) => haystackOf(node).includes(word))
    ) {
      found.push(node);
    }
  }
  return sortNodes(found, view);
}

/** The value of a facet for nodes that have none. */
export const UNKNOWN = 'unknown';

function sortNodes(nodes: BoardNode[], { sort, descending }: View): readonly BoardNode[] {
  const key = SORT_KEYS[sort];
  const sign = descending ? -1 : 1;
  if (key === null) return nodes.sort((a, b) => sign * byMood(a, b));
  // Equal and unknown ones stay in the order of addresses in both directions.
  return nodes.sort((a, b) => {
    const [left, right] = [key(a), key(b)];
    if (left === right) return compareKeys(a.addressKey, b.addressKey) || compareKeys(a.id, b.id);
    if (left === '' || right === '') return left === '' ? 1 : -1;
    return sign * compareKeys(left, right);
  });
}

/** null: by the state itself, worst first. */
const SORT_KEYS: Readonly<Record<SortField, ((node: BoardNode) => string) | null>> = {
  health: null,
  state: ({ state }) => state,
  address: ({ addressKey }) => addressKey,
  instance: ({ id }) => id,
  cluster: ({ cluster }) => cluster ?? '',
  zone: ({ zone }) => zone ?? '',
  since: ({ since }) => since ?? '',
  agent: ({ agentVersion }) => agentVersion?.replace(/\d+/g, (part) => part.padStart(6, '0')) ?? '',
  notice: ({ notice }) => notice ?? '',
  labels: ({ labels }) => labels.join(' '),
};

export interface FacetValue {
  readonly value: string;
  readonly count: number;
}

export interface Facets {
  readonly cluster: readonly FacetValue[];
  readonly zone: readonly FacetValue[];
  readonly type: readonly FacetValue[];
  readonly agent: readonly FacetValue[];
  readonly label: readonly FacetValue[];
}

/** More values than this make no list to choose from; the search finds them. */
const MAX_FACET_VALUES = 60;

/** How many nodes have each value. The clusters are those of all nodes, the rest that of the view's cluster. */
export function facetsOf(nodes: Iterable<BoardNode>, cluster: string | null): Facets {
  const counts = { cluster: tally(), zone: tally(), type: tally(), agent: tally(), label: tally() };
  for (const node of nodes) {
    if (node.cluster !== null) counts.cluster.add(node.cluster);
    if (cluster !== null && node.cluster !== cluster) continue;
    counts.zone.add(node.zone ?? UNKNOWN);
    counts.type.add(node.type ?? UNKNOWN);
    counts.agent.add(node.agentVersion ?? UNKNOWN);
    for (const label of node.labels) counts.label.add(label);
  }
  return {
    cluster: counts.cluster.values(),
    zone: counts.zone.values(),
    type: counts.type.values(),
    agent: counts.agent.values(),
    label: counts.label.values(),
  };
}

function tally() {
  const counts = new Map<string, number>();
  return {
    add: (value: string) => counts.set(value, (counts.get(value) ?? 0) + 1),
    values: (): readonly FacetValue[] =>
      [...counts]
        .map(([value, count]) => ({ value, count }))
        .sort((a, b) => b.count - a.count || compareKeys(a.value, b.value))
        .slice(0, MAX_FACET_VALUES)
        .sort((a, b) => compareKeys(a.value, b.value)),
  };
}
