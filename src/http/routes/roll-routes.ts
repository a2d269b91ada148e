import { isIPv6 } from 'node:net';
import { fleetStatus, type StoreStatus } from '../../audit/fleet-status.ts';
import { describeError, quote } from '../../lib/errors.ts';
import { INSTANCE_ID } from '../../record/codec.ts';
import { filterRoll, type RollFilter } from '../../record/filter.ts';
import { listNotes } from '../../record/flaws.ts';
import type { NodeRecord } from '../../record/record.ts';
import { instanceJson, type PresenceState, presenceState, type RollEntry } from '../../record/roll.ts';
import type { Registry, RegistryRead } from '../../registry/registry.ts';
import { StoreError } from '../../store/store-errors.ts';
import { describeUnread } from '../../store/unreadable-nodes.ts';
import { entityTag, type RollTag } from '../entity-tag.ts';
import { pageOf, parseListQuery, parseStatusQuery, parseTargetsQuery } from '../query.ts';
import { type Handler, jsonList, jsonReply, problem, type Reply, type RouteRequest } from '../reply.ts';
import type { RollLists } from '../roll-lists.ts';

/** In seconds. The registry retries the store within 5 s, so an earlier request is useless. */
const RETRY_AFTER = { 'Retry-After': '5' };

/** The roll for a route, or a 503 with the reason why it is not known. */
export async function readForRoute(
  registry: Pick<Registry, 'read'>,
  { path, signal }: RouteRequest,
): Promise<RegistryRead | Reply> {
  try {
    return await registry.read(signal);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return unavailable(describeError(error), path);
  }
}

/** A 503. An empty list or a 404 instead would mean that nodes are gone. */
export function unavailable(detail: string, path: string): Reply {
  return problem(503, detail, { instance: path, headers: RETRY_AFTER });
}

/**
 * The filtered roll, or a page of it; in an outage the last known one, with its age and `"stale":true`. Its tag leaves out
 * the age, which is below 15 s in each answer that has a tag: a stale one has none, so that its reader sees the age.
 */
export function containerInstances(registry: Pick<Registry, 'read'>, rollTag: RollTag, lists: RollLists): Handler {
  return async (request) => {
    const { path, query } = request;
    const parsed = parseListQuery(query);
    if (!parsed.ok) return problem(400, parsed.detail, { instance: path });
    const read = await readForRoute(registry, request);
    if ('status' in read) return read;
    const { roll, ageMs, stale, uncertainty } = read;
    const { filter, page } = parsed.value;
    const selected = lists.list(
      roll.entries,
      filterKey(filter),
      () => ({ entries: filterRoll(roll.entries, filter), notes: listNotes(roll.entries, filter) }),
      instanceJson,
    );
    const { notes } = selected;
    const { entries, next } = pageOf(selected.entries, page);
    const meta = { revision: roll.revision, stale, uncertainty, skipped: roll.skipped, notes, next };
    const rest = JSON.stringify({ ...meta, ageMs });
    const [head, tail] = ['{"containerInstances":[', `],${rest.slice(1)}\n`];
    const isWhole = entries === selected.entries;
    return {
      status: 200,
      contentType: 'application/json',
      headers: next === null ? {} : { Link: nextLink(path, query, next) },
      ...(isWhole ? await selected.body(head, tail) : { body: jsonList(head, entries, tail, instanceJson) }),
      ...(stale ? {} : { etag: rollTag(roll.entries, [query.toString(), meta]) }),
    };
  };
}

/** The same for filters that accept the same nodes in the same words. */
function filterKey({ selector, ...sets }: RollFilter): string {
  return JSON.stringify([selector, Object.values(sets).map((set) => set && [...set])]);
}

/** RFC 8288. @param next the `after` of the next page */
function nextLink(path: string, query: URLSearchParams, next: string): string {
  const following = new URLSearchParams(query);
  following.set('after', next);
  return `<${path}?${following}>; rel="next"`;
}

/** An answer that is made whole, with a tag of what it says but for its age. A stale one has none, as that of the roll. */
function taggedReply<T extends { readonly stale: boolean; readonly ageMs: number }>(value: T): Reply {
  const { ageMs: _, ...content } = value;
  return { ...jsonReply(value), ...(value.stale ? {} : { etag: entityTag(content) }) };
}

/** The answer to a path with an instance id that is none; null: it is one. */
export function refuseInstanceId(id: string, instance: string): Reply | null {
  if (INSTANCE_ID.test(id)) return null;
  return problem(400, `${quote(id)} is not an instance id: i- or mi- and 8 to 32 hex digits`, { instance });
}

/** One node by its instance id, with any presence. */
export function containerInstance(registry: Pick<Registry, 'read'>): Handler {
  return async (request) => {
    const { path: instance, params } = request;
    const id = params['id'] ?? '';
    const refused = refuseInstanceId(id, instance);
    if (refused) return refused;
    const read = await readForRoute(registry, request);
    if ('status' in read) return read;
    const { roll, ageMs, stale } = read;
    const entry = roll.entries.find(({ record }) => record.ec2InstanceId === id);
    if (entry) return taggedReply({ containerInstance: instanceJson(entry), revision: roll.revision, ageMs, stale });
    const unread = describeUnread(roll.skipped, id);
    if (unread !== null) return unavailable(describeError(unread), instance);
    const detail = `${id} is not on the roll at revision ${roll.revision}`;
    // On a stale roll a missing node may be registered by now, so a 404 could be wrong.
    return stale ? unavailable(`${detail}, which is ${ageMs} ms old`, instance) : problem(404, detail, { instance });
  };
}

/** A scrape target in the form of Prometheus' http_sd. */
interface TargetGroup {
  readonly targets: readonly [string];
  /** An unknown value has no label. */
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * @param presence `uncertain`: it is lost and may return
 * @returns null for a node without a private address, which cannot be scraped
 */
export function targetGroup(
  record: NodeRecord,
  presence: PresenceState | 'uncertain',
  port: number,
): TargetGroup | null {
  const { privateIpAddress: address } = record;
  if (address === null) return null;
  const known = {
    instance_id: record.ec2InstanceId,
    container_instance_arn: record.containerInstanceArn,
    cluster: record.cluster,
    availability_zone: record.availabilityZone,
    region: record.region,
    instance_type: record.instanceType,
    instance_lifecycle: record.instanceLifecycle,
    machine_id: record.machineId,
    health: record.health.status,
    presence,
    private_ip: address,
    ...sanitized(record.labels),
  };
  const labels: Record<string, string> = {};
  for (const [name, value] of Object.entries(known)) if (value !== null) labels[`__meta_rollcall_${name}`] = value;
  return { targets: [`${isIPv6(address) ? `[${address}]` : address}:${port}`], labels };
}

/** If two names become equal, the last in sorted order wins, so that each scrape gets the same value. */
function sanitized(labels: NodeRecord['labels']): Record<string, string> {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(sorted.map(([name, value]) => [`label_${name.replace(/[^a-zA-Z0-9_]/g, '_')}`, value]));
}

/**
 * The nodes as scrape targets, for Prometheus' http_sd: https://prometheus.io/docs/prometheus/latest/http_sd/. Prometheus
 * replaces all its targets with each answer and keeps them after a failure. So the answer is always the full list, or a
 * 503 if the roll is not known. Lost nodes that may return stay, so that a short store outage does not end their scraping.
 */
export function targets(registry: Pick<Registry, 'read'>, rollTag: RollTag, lists: RollLists): Handler {
  return async (request) => {
    const parsed = parseTargetsQuery(request.query);
    if (!parsed.ok) return problem(400, parsed.detail, { instance: request.path });
    const read = await readForRoute(registry, request);
    if ('status' in read) return read;
    const { roll, uncertainLosses } = read;
    const { filter, port: asked } = parsed.value;
    const port = asked ?? request.port;
    const mayReturn = (entry: RollEntry) => uncertainLosses.has(entry.record.ec2InstanceId);
    const select = () => ({
      entries: filterRoll(roll.entries, { ...filter, presence: null }).filter(
        (entry) => !filter.presence || filter.presence.has(mayReturn(entry) ? 'present' : presenceState(entry)),
      ),
      notes: [],
    });
    const group = (entry: RollEntry) =>
      targetGroup(entry.record, mayReturn(entry) ? 'uncertain' : presenceState(entry), port);
    const key = `${port} ${filterKey(filter)}`;
    const etag = rollTag(roll.entries, [request.query.toString(), request.port, [...uncertainLosses].sort()]);
    const json = { status: 200, contentType: 'application/json', etag };
    // Which losses are uncertain is not in the entries.
    if (uncertainLosses.size > 0) return { ...json, body: jsonList('[', select().entries, ']\n', group) };
    return { ...json, ...(await lists.list(roll.entries, key, select, group).body('[', ']\n')) };
  };
}

/** How the fleet is, on one page: the numbers of the roll, the nodes to look at, drains, audit and the store. */
export function status(
  registry: Pick<Registry, 'read'>,
  readStore: (signal: AbortSignal) => Promise<StoreStatus>,
  ofAgent: readonly string[],
): Handler {
  return async (request) => {
    const parsed = parseStatusQuery(request.query);
    if (!parsed.ok) return problem(400, parsed.detail, { instance: request.path });
    const [read, store] = await Promise.all([readForRoute(registry, request), readStore(request.signal)]);
    if ('status' in read) return read;
    const notes = [...ofAgent, ...store.notes];
    return taggedReply(fleetStatus(read, { ...store, notes }, parsed.value));
  };
}
