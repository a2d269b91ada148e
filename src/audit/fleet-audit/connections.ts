import { type Decoded, decode, FieldError, field } from '../../record/codec.ts';

/**
 * Since when ECS has ecs-agents disconnected, which ECS itself does not say: the leader of the continuous audit polls once
 * a minute and counts by its own monotonic clock. What it knows goes through the store: one short document that every
 * agent reads, and one for each node that is disconnected. Nothing is written while nothing changes.
 */

export interface ConnectionLimits {
  /** From the beginning of one poll to the beginning of the next. */
  readonly pollIntervalMs: number;
  /** How long ECS has ecs-agent disconnected before its node is critical. */
  readonly criticalAfterMs: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = { pollIntervalMs: 60_000, criticalAfterMs: 300_000 };

/**
 * Of the disconnected container instances of hosts that are stopped or gone, of which ECS may keep thousands, so many have a
 * document: those that are disconnected longest. Only a present node reads its own.
 */
const MAX_ABSENT = 2_000;
/** Of present nodes all have one, as one without passes: this is more than the greatest supported fleet has. */
const MAX_PRESENT = 50_000;
/** That every agent reads of: some 10 kB. */
const MAX_CLUSTERS = 100;
/** Intervals: what happened between two polls that are further apart is not known. */
const MAX_COUNTED_GAP = 2;
/** Polls in a row: a request that ECS throttles once says nothing. */
const MAX_FAILED_POLLS = 3;

/** A container instance that ECS has disconnected. */
export interface Disconnected {
  readonly instanceId: string;
  readonly containerInstanceArn: string;
  /** Its node was present on the roll minutes ago. */
  readonly present: boolean;
}

/** What ECS answered to one poll. */
export interface Poll {
  /** Names or ARNs of the clusters that it was asked about. */
  readonly clusters: readonly string[];
  readonly disconnected: readonly Disconnected[];
  /** ARNs of known ones that ECS no longer has in service, while their nodes are present under them. */
  readonly gone: readonly string[];
}

interface Disconnection extends Disconnected {
  /** RFC 3339, by the clock of the leader that saw it first. */
  readonly since: string;
  /** Counted by the monotonic clocks of the leaders, from the first poll that saw it to the last; up to `criticalAfterMs`. */
  readonly lastedMs: number;
}

/** What a leader knows after its last poll. */
export interface Connections {
  /** By ARN. */
  readonly known: ReadonlyMap<string, Disconnection>;
  /** Those of the last poll, of an earlier leader perhaps; null: not known, or too many to tell. */
  readonly clusters: readonly string[] | null;
  /** Of the last poll that succeeded, on the monotonic clock; null: none yet in this term. */
  readonly polledAtMs: number | null;
  /** Polls in a row. */
  readonly failed: number;
  readonly failing: Failing | null;
}

/** Why the leader cannot poll. */
interface Failing {
  /** RFC 3339. */
  readonly since: string;
  /** One line. */
  readonly reason: string;
}

/** The instants of a poll: on the monotonic and on the wall clock. */
interface Now {
  readonly nowMs: number;
  readonly wallMs: number;
}

/**
 * What a new leader knows: what the documents say, which it counts on from. @param texts of the nodes' documents; one that
 * cannot be read counts anew @param shared the document that every agent reads; null: there is none
 */
export function rememberedConnections(texts: ReadonlyMap<string, string>, shared: string | null = null): Connections {
  const known = new Map<string, Disconnection>();
  for (const [instanceId, text] of texts) {
    const decoded = decodeNodeConnection(text);
    for (const { containerInstanceArn, since, lastedMs } of decoded.ok ? decoded.value.registrations : []) {
      known.set(containerInstanceArn, { instanceId, containerInstanceArn, present: true, since, lastedMs });
    }
  }
  const decoded = shared === null ? null : decodeShared(shared);
  const clusters = decoded?.ok ? decoded.value.clusters : null;
  return { known, clusters, polledAtMs: null, failed: 0, failing: null };
}

/**
 * After a poll. A disconnection that began since the last poll has lasted for no time yet. One whose container instance was
 * deregistered meanwhile did not end by that: it stays as it was; pure.
 */
export function afterPoll(
  before: Connections,
  { clusters, disconnected, gone }: Poll,
  { nowMs, wallMs }: Now,
  { pollIntervalMs, criticalAfterMs }: ConnectionLimits,
): Connections {
  const sincePollMs = before.polledAtMs === null ? 0 : Math.round(nowMs - before.polledAtMs);
  const gapMs = Math.min(sincePollMs, MAX_COUNTED_GAP * pollIntervalMs);
  const known = disconnected.map((each): Disconnection => {
    const last = before.known.get(each.containerInstanceArn);
    if (!last) return { ...each, since: new Date(wallMs).toISOString(), lastedMs: 0 };
    return { ...last, ...each, lastedMs: Math.min(last.lastedMs + gapMs, criticalAfterMs) };
  });
  known.push(...gone.flatMap((arn) => before.known.get(arn) ?? []));
  known.sort((a, b) => b.lastedMs - a.lastedMs);
  const kept = [
    ...known.filter(({ present }) => present).slice(0, MAX_PRESENT),
    ...known.filter(({ present }) => !present).slice(0, MAX_ABSENT),
  ].map((each) => [each.containerInstanceArn, each] as const);
  const asked = clusters.length > MAX_CLUSTERS ? null : clusters.toSorted();
  return { known: new Map(kept), clusters: asked, polledAtMs: nowMs, failed: 0, failing: null };
}

/** After a poll that failed; pure. */
export function afterFailedPoll(before: Connections, reason: string, { wallMs }: Now): Connections {
  const failed = before.failed + 1;
  const failing = { since: new Date(wallMs).toISOString(), reason };
  return { ...before, failed, failing: before.failing ?? (failed >= MAX_FAILED_POLLS ? failing : null) };
}

/** The document that every agent reads. */
interface SharedConnections {
  /** The session of the leader that confirmed all that the store has of this. */
  readonly by: string;
  /** Grows with each publication of a leader, so that no two are the same. */
  readonly sequence: number;
  readonly failing: Failing | null;
  /** Names or ARNs of the clusters that ECS is asked about; null: not told, as by an earlier version. */
  readonly clusters: readonly string[] | null;
}

/** The document of a node, with each of its container instances: a former one may be disconnected, too. */
interface NodeConnection {
  readonly by: string;
  readonly registrations: readonly {
    readonly containerInstanceArn: string;
    readonly since: string;
    /** How long it has lasted, up to the time after which it is critical. */
    readonly lastedMs: number;
    readonly critical: boolean;
  }[];
  /** The ARN under which the node is on the roll and which ECS does not have, as the last audit found; null: it has. */
  readonly stray: string | null;
}

/**
 * The documents of the nodes, by instance id: encoded `NodeConnection`s. A disconnection is written from the second poll
 * on that saw it: healthy ecs-agents lose their connection several times an hour, for less than that.
 * @param strays instance id → ARN
 */
export function toldConnections(
  { known }: Connections,
  by: string,
  { criticalAfterMs }: ConnectionLimits,
  strays: ReadonlyMap<string, string> = new Map(),
): ReadonlyMap<string, string> {
  const lasting = [...known.values()].filter(({ lastedMs }) => lastedMs > 0);
  const byNode = Map.groupBy(lasting, ({ instanceId }) => instanceId);
  return new Map(
    [...new Set([...byNode.keys(), ...strays.keys()])].map((instanceId) => {
      const registrations = (byNode.get(instanceId) ?? [])
        .map(({ containerInstanceArn, since, lastedMs }) => {
          return { containerInstanceArn, since, lastedMs, critical: lastedMs >= criticalAfterMs };
        })
        .sort((a, b) => (a.containerInstanceArn < b.containerInstanceArn ? -1 : 1));
      const stray = strays.get(instanceId);
      return [instanceId, JSON.stringify({ schemaVersion: SCHEMA_VERSION, by, registrations, stray })];
    }),
  );
}

const SCHEMA_VERSION = 1;

export function encodeShared(shared: SharedConnections): string {
  return JSON.stringify({ schemaVersion: SCHEMA_VERSION, ...shared });
}

export function decodeShared(json: string): Decoded<SharedConnections> {
  return decode(json, (value) => {
    const from = versioned(value);
    return {
      by: field.text(from['by'], 'by'),
      sequence: field.number(from['sequence'], 'sequence'),
      failing: field.optional(from['failing'], 'failing', (each) => ({
        since: field.text(each['since'], 'failing.since'),
        reason: field.text(each['reason'], 'failing.reason'),
      })),
      clusters:
        from['clusters'] == null
          ? null
          : field.list(from['clusters'], 'clusters').map((each) => field.text(each, 'cluster')),
    };
  });
}

export function decodeNodeConnection(json: string): Decoded<NodeConnection> {
  return decode(json, (value) => {
    const from = versioned(value);
    const registrations = field.list(from['registrations'], 'registrations').map((each) => {
      const of = field.object(each, 'registration');
      return {
        containerInstanceArn: field.text(of['containerInstanceArn'], 'containerInstanceArn'),
        since: field.text(of['since'], 'since'),
        lastedMs: field.number(of['lastedMs'], 'lastedMs'),
        critical: of['critical'] === true,
      };
    });
    return { by: field.text(from['by'], 'by'), registrations, stray: field.optionalText(from['stray'], 'stray') };
  });
}

function versioned(value: unknown): Readonly<Record<string, unknown>> {
  const from = field.object(value, 'value');
  const version = field.number(from['schemaVersion'], 'schemaVersion');
  if (version !== SCHEMA_VERSION) throw new FieldError(`schemaVersion ${version} is not ${SCHEMA_VERSION}`);
  return from;
}
