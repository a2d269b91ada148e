import { type EcsAgentFacts, INTERRUPTION_KINDS, type MetadataFacts, type NodeRecord } from '../record/record.ts';
import { type KnownMetadata, METADATA_NAMES } from '../sources/metadata.ts';
import { NO_NOTICES, type Notices } from '../sources/notices.ts';

/** What the sources of this process have said so far. A fact that none could say is absent; null: there is no such value. */
export interface ReadFacts {
  readonly metadata: KnownMetadata;
  /** null: ecs-agent has not answered. */
  readonly ecsAgent: EcsAgentFacts | null;
  readonly notices: Partial<Notices>;
  /** undefined: its file could not be read. */
  readonly machineId: string | null | undefined;
  /** The cluster of `--cluster`; null: not set. */
  readonly configuredCluster: string | null;
}

export interface WholeFacts {
  readonly metadata: MetadataFacts;
  readonly ecsAgent: EcsAgentFacts;
  readonly notices: Notices;
  readonly machineId: string | null;
  /** What of `ecsAgent` ecs-agent has not said to this process, for the check `ecs-agent`; null: nothing. */
  readonly unconfirmed: string | null;
}

/**
 * All facts of a node: what the sources have said, completed by the last record of the same instance. An agent that
 * starts while a source is down would otherwise replace what the store knows with null, and the node would vanish from
 * the view of its cluster or zone just when it is broken. Kept are, each until its source says otherwise:
 *
 * - cluster, ARN and version of ecs-agent: ecs-agent alone knows them, and it is down on a node that one has to look at;
 * - each fact of EC2's metadata: what could not be read is still true of the same instance. The private address also
 *   where the metadata has none, because an instance always has one;
 * - the notice of EC2: it stands until EC2 says that there is none. Not after its time: that interruption has happened;
 * - the machine id, where its file cannot be read;
 * - a check that is not passing, until it was looked at: see `recallCheck`.
 *
 * Not kept: labels (configuration), passing checks (all run anew), the departure, and what is of the process.
 *
 * Of the cluster ecs-agent's word is worth most, then that of the last record, then the configuration. A last record
 * without an ARN or a version had its cluster from the configuration of then, which the one of now replaces.
 * @param last the last record; null: none, or of another instance
 * @param wallMs when `last` was read, on EC2's clock: that of the notices
 */
export function completeFacts(read: ReadFacts, last: NodeRecord | null, wallMs: number): WholeFacts {
  const own = last?.ec2InstanceId === read.metadata.ec2InstanceId ? last : null;
  const metadata = METADATA_NAMES.map((name) => [name, metadataFact(read.metadata, own, name)]);
  return {
    metadata: Object.fromEntries(metadata) as MetadataFacts,
    ...ecsAgentFacts(read, own),
    notices: { ...NO_NOTICES, ...standingNotice(own, wallMs), ...read.notices },
    machineId: read.machineId === undefined ? (own?.machineId ?? null) : read.machineId,
  };
}

function metadataFact(read: KnownMetadata, own: NodeRecord | null, name: keyof MetadataFacts): string | null {
  const value = read[name];
  const unknown = value === undefined || (value === null && name === 'privateIpAddress');
  return unknown ? (own?.[name] ?? null) : value;
}

function ecsAgentFacts(
  { ecsAgent, configuredCluster }: ReadFacts,
  own: NodeRecord | null,
): Pick<WholeFacts, 'ecsAgent' | 'unconfirmed'> {
  if (ecsAgent) return { ecsAgent, unconfirmed: null };
  const cluster = own?.cluster ?? null;
  if (own && (own.containerInstanceArn !== null || own.versionInfo.agentVersion !== null)) {
    const { containerInstanceArn, versionInfo } = own;
    const unconfirmed = 'cluster and ARN are from the last record, unconfirmed';
    return { ecsAgent: { containerInstanceArn, cluster, ...versionInfo }, unconfirmed };
  }
  const none = { containerInstanceArn: null, agentVersion: null, agentHash: null };
  if (configuredCluster !== null) {
    const unconfirmed = 'the cluster is the configured one, unconfirmed';
    return { ecsAgent: { ...none, cluster: configuredCluster }, unconfirmed };
  }
  const unconfirmed = cluster === null ? null : 'the cluster is from the last record, unconfirmed';
  return { ecsAgent: { ...none, cluster }, unconfirmed };
}

function standingNotice(own: NodeRecord | null, wallMs: number): Partial<Notices> {
  const notice = own?.interruption ?? null;
  const kind = INTERRUPTION_KINDS.find((each) => each === notice?.kind);
  if (!notice || !kind) return {};
  // A time that cannot be read does not end it.
  const isOver = notice.time !== null && Date.parse(notice.time) <= wallMs;
  return isOver ? {} : { [kind]: notice };
}
