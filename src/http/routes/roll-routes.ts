import { isIPv6 } from 'node:net';
import { fleetStatus, type StoreStatus } from '../../audit/fleet-status.ts';
import { describeError, quote } from '../../lib/errors.ts';
import { INSTANCE_ID } from '../../record/codec.ts';
import { describeUnmatched, filterRoll } from '../../record/filter.ts';
import type { NodeRecord } from '../../record/record.ts';
import { instanceJson, type PresenceState, presenceState, type RollEntry } from '../../record/roll.ts';
import type { Registry, RegistryRead } from '../../registry/registry.ts';
import { StoreError } from '../../store/store-errors.ts';
import { parseRollQuery, parseStatusQuery, parseTargetsQuery } from '../query.ts';
import { type Handler, jsonList, jsonReply, problem, type Reply, type RouteRequest } from '../reply.ts';

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

/** The filtered roll; in an outage the last known one, with its age and `"stale":true`. */
export function containerInstances(registry: Pick<Registry, 'read'>): Handler {
  return async (request) => {
    const parsed = parseRollQuery(request.query);
    if (!parsed.ok) return problem(400, parsed.detail, { instance: request.path });
    const read = await readForRoute(registry, request);
    if ('status' in read) return read;
    const { roll, ageMs, stale, uncertainty } = read;
    const entries = filterRoll(roll.entries, parsed.value);
    const notes = describeUnmatched(roll.entries, parsed.value);
    const rest = JSON.stringify({ revision: roll.revision, ageMs, stale, uncertainty, skipped: roll.skipped, notes });
    const body = jsonList('{"containerInstances":[', entries, `],${rest.slice(1)}\n`, instanceJson);
    return { status: 200, contentType: 'application/json', body };
  };
}

/** One node by its instance id, with any presence. */
export function containerInstance(registry: Pick<Registry, 'read'>): Handler {
  return async (request) => {
    const { path: instance, params } = request;
    const id = params['id'] ?? '';
    if (!INSTANCE_ID.test(id)) {
      const detail = `${quote(id)} is not an instance id: i- or mi- and 8 to 32 hex digits`;
      return problem(400, detail, { instance });
    }
    const read = await readForRoute(registry, request);
    if ('status' in read) return read;
    const { roll, ageMs, stale } = read;
    const entry = roll.entries.find(({ record }) => record.ec2InstanceId === id);
    if (entry) return jsonReply({ containerInstance: instanceJson(entry), revision: roll.revision, ageMs, stale });
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
export function targets(registry: Pick<Registry, 'read'>): Handler {
  return async (request) => {
    const parsed = parseTargetsQuery(request.query);
    if (!parsed.ok) return problem(400, parsed.detail, { instance: request.path });
    const read = await readForRoute(registry, request);
    if ('status' in read) return read;
    const { filter, port } = parsed.value;
    const mayReturn = (entry: RollEntry) => read.uncertainLosses.has(entry.record.ec2InstanceId);
    const groups = filterRoll(read.roll.entries, { ...filter, presence: null })
      .filter((entry) => !filter.presence || filter.presence.has(mayReturn(entry) ? 'present' : presenceState(entry)))
      .map((entry) =>
        targetGroup(entry.record, mayReturn(entry) ? 'uncertain' : presenceState(entry), port ?? request.port),
      )
      .filter((group) => group !== null);
    return { status: 200, contentType: 'application/json', body: jsonList('[', groups, ']\n') };
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
    const notes = [...ofAgent, ...store.notes, ...describeUnmatched(read.roll.entries, parsed.value)];
    return jsonReply(fleetStatus(read, { ...store, notes }, parsed.value));
  };
}
