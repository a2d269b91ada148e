import { createHash, createHmac } from 'node:crypto';
import * as v from 'valibot';
import { UsageError } from '../lib/errors.ts';
import { requireObject } from './http.ts';

/** A simulated node. Equal arguments give equal nodes, so that the nodes survive a restart of the simulator. */
export interface SimulatedNode {
  readonly instanceId: string;
  readonly privateIpAddress: string;
  readonly privateDnsName: string;
  readonly region: string;
  readonly availabilityZone: string;
  readonly instanceType: string;
  readonly imageId: string;
  readonly accountId: string;
  readonly architecture: string;
  readonly instanceLifecycle: 'on-demand' | 'spot';
  /** RFC 3339. */
  readonly pendingTime: string;
  readonly machineId: string;
  readonly cluster: string;
}

const FIRST_ADDRESS = 23;
export const REGION = 'us-east-1';
export const ACCOUNT_ID = '123456789012';

interface Fleet {
  /** Fleets with different seeds have different ids. */
  readonly seed: string;
  readonly cluster: string;
  /** Number of clusters; the nodes alternate between `cluster`, `cluster-2`, `cluster-3` …; default 1. */
  readonly clusters?: number;
}

/** Cluster names of a fleet, in the order in which nodes are assigned. */
export function fleetClusters({ cluster, clusters = 1 }: Omit<Fleet, 'seed'>): readonly string[] {
  return Array.from({ length: clusters }, (_, index) => (index === 0 ? cluster : `${cluster}-${index + 1}`));
}

/** @param index from 0 */
export function simulatedNode(index: number, { seed, ...named }: Fleet): SimulatedNode {
  const names = fleetClusters(named);
  const cluster = names[index % names.length] ?? named.cluster;
  // The index in the cluster, so that each cluster has nodes of all zones and life cycles.
  const rank = Math.floor(index / names.length);
  const fleet = { seed, cluster };
  const address = FIRST_ADDRESS + index;
  const privateIpAddress = `10.113.${address >> 8}.${address & 255}`;
  return {
    instanceId: `i-${derive(fleet, index, 'instance').slice(0, 17)}`,
    privateIpAddress,
    privateDnsName: `ip-${privateIpAddress.replaceAll('.', '-')}.ec2.internal`,
    region: REGION,
    availabilityZone: `${REGION}${'abc'[rank % 3]}`,
    instanceType: 'm5.large',
    imageId: `ami-${derive(fleet, 0, 'image').slice(0, 17)}`,
    accountId: ACCOUNT_ID,
    architecture: 'x86_64',
    instanceLifecycle: rank % 4 === 3 ? 'spot' : 'on-demand',
    pendingTime: '2026-11-22T09:00:00Z',
    machineId: derive(fleet, index, 'machine').slice(0, 32),
    cluster,
  };
}

/**
 * @param generation incremented each time ecs-agent loses its checkpoint and registers again
 * @param withCluster true for the newer form with the cluster's name
 */
export function containerInstanceArn(node: SimulatedNode, generation: number, withCluster: boolean): string {
  const hex = derive({ seed: node.instanceId, cluster: node.cluster }, generation, 'arn');
  const uuid = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
  const path = withCluster ? `${node.cluster}/${uuid}` : uuid;
  return `arn:aws:ecs:${node.region}:${node.accountId}:container-instance/${path}`;
}

/** 64 hex digits. */
function derive({ seed, cluster }: Fleet, index: number, purpose: string): string {
  return createHash('sha256')
    .update(JSON.stringify([seed, cluster, index, purpose]))
    .digest('hex');
}

/** Maximum number of maintenance events of one node. */
const MAX_EVENTS = 20;

const text = v.pipe(v.string(), v.maxLength(256));
const instant = v.pipe(v.string(), v.isoTimestamp());

// Shapes: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html#dynamic-data-categories
const noticesSchema = v.strictObject({
  spot: v.nullable(v.strictObject({ action: v.picklist(['hibernate', 'stop', 'terminate']), time: instant })),
  rebalance: v.nullable(v.strictObject({ noticeTime: instant })),
  maintenance: v.pipe(
    v.array(
      v.strictObject({
        Code: text,
        NotBefore: text,
        NotAfter: v.optional(text),
        Description: text,
        EventId: text,
        State: v.picklist(['active', 'completed', 'canceled']),
      }),
    ),
    v.maxLength(MAX_EVENTS),
  ),
  /** null: the node is not in an Auto Scaling group. */
  lifecycleState: v.nullable(v.pipe(v.string(), v.regex(/^[A-Za-z]{1,32}(:[A-Za-z]{1,32})?$/))),
});

/** The notices of EC2 to a node. `null`: IMDS answers 404. */
export type Notices = v.InferOutput<typeof noticesSchema>;

export const NO_NOTICES: Notices = { spot: null, rebalance: null, maintenance: [], lifecycleState: 'InService' };

const partial = v.partial(noticesSchema);
const KEYS = Object.keys(NO_NOTICES) as (keyof Notices)[];

/** Reads `{"spot":{"action":"terminate","time":"…"}}`; other notices stay. @throws UsageError */
export function parseNotices(value: unknown): Partial<Notices> {
  const result = v.safeParse(partial, requireObject('notices', KEYS, value), { abortEarly: true });
  if (!result.success) {
    const issue = result.issues[0];
    throw new UsageError(`notices: ${v.getDotPath(issue) ?? 'value'}: ${issue.message}`);
  }
  // Remove undefined keys, because spread over the current notices they would overwrite them.
  return Object.fromEntries(Object.entries(result.output).filter(([, one]) => one !== undefined)) as Partial<Notices>;
}

/** Faults of every simulated server. */
const COMMON = ['none', 'refuse', 'hang', 'error500', 'html', 'truncated', 'oversized', 'wrong-type'] as const;

/** `token-hang`: only the token request hangs, as in a bridged container. `unauthorized`: 401 for everything. */
export const IMDS_FAULTS = [...COMMON, 'token-hang', 'unauthorized'] as const;
/** `null-arn`: ecs-agent runs, but is not registered. `cluster-arn`: ecs-agent is configured with the cluster's ARN. */
export const INTROSPECTION_FAULTS = [...COMMON, 'null-arn', 'cluster-arn'] as const;

export type ImdsFault = (typeof IMDS_FAULTS)[number];
export type IntrospectionFault = (typeof INTROSPECTION_FAULTS)[number];

export interface Faults {
  readonly imds: ImdsFault;
  readonly introspection: IntrospectionFault;
}

export const NO_FAULTS: Faults = { imds: 'none', introspection: 'none' };

/** Reads `{"imds":"hang"}`; a server that is not named keeps its fault. @throws UsageError with the allowed faults */
export function parseFaults(value: unknown): Partial<Faults> {
  const { imds, introspection } = requireObject('faults', ['imds', 'introspection'], value);
  return {
    ...(imds === undefined ? {} : { imds: parseNodeFault('imds', IMDS_FAULTS, imds) }),
    ...(introspection === undefined
      ? {}
      : { introspection: parseNodeFault('introspection', INTROSPECTION_FAULTS, introspection) }),
  };
}

function parseNodeFault<T extends string>(server: string, allowed: readonly T[], value: unknown): T {
  const fault = allowed.find((one) => one === value);
  if (fault !== undefined) return fault;
  throw new UsageError(`${server} fault ${JSON.stringify(value)} is unknown; use one of ${allowed.join(', ')}`);
}

/**
 * A session token that contains its expiry, so that the simulator does not store tokens.
 * @param expiresAtMs on the simulator's monotonic clock
 */
export function issueToken(secret: string, expiresAtMs: number): string {
  const end = Math.floor(expiresAtMs).toString(36);
  return `AQAEA${end}_${signature(secret, end)}==`;
}

/** True if this secret issued the token and it has not expired. */
export function tokenIsGood(secret: string, token: unknown, nowMs: number): boolean {
  const match = typeof token === 'string' ? /^AQAEA([0-9a-z]{1,12})_(.+)==$/.exec(token) : null;
  const end = match?.[1];
  return end !== undefined && match?.[2] === signature(secret, end) && nowMs < Number.parseInt(end, 36);
}

function signature(secret: string, end: string): string {
  return createHmac('sha256', secret).update(end).digest('base64url');
}
