import type { ContainerInstance } from '../ecs/ecs-api.ts';
import type { NodeRecord } from '../record/record.ts';
import type { RollEntry } from '../record/roll.ts';

/** In ECS and not on the roll; on the roll and not in ECS; in both, and the agent disconnected or an identity differing. */
export const DIFFERENCE_KINDS = ['ghost', 'stray', 'disconnected', 'mismatch'] as const;
export type DifferenceKind = (typeof DIFFERENCE_KINDS)[number];

/**
 * What is worth a line and is no difference. `disconnected-now`: for how long is not known; healthy agents lose their
 * connection several times an hour. `registering`, `deregistering`: ECS is at it, or rollcall may be about to answer.
 * `unregistered`: present, and its ecs-agent has no ARN yet. `unreadable`, `changing`: could not be told.
 */
export const NOTE_KINDS = [
  'disconnected-now',
  'registering',
  'deregistering',
  'unregistered',
  'unreadable',
  'changing',
] as const;
export type NoteKind = (typeof NOTE_KINDS)[number];

interface Finding {
  /** Null where ECS does not say which instance it is. */
  readonly instanceId: string | null;
  readonly cluster: string | null;
  /** As ECS has it; of a node that is only on the roll, as its record has it. */
  readonly containerInstanceArn: string | null;
  readonly privateIpAddress: string | null;
  /** Since when it is known to be so (RFC 3339); null: nobody knows. */
  readonly since: string | null;
  /** One line for a person, with what the last record said. Holds nothing that ticks. */
  readonly reason: string;
}

/** One node, or one container instance, on which the store and ECS differ. Both sides were looked at twice. */
export interface Difference extends Finding {
  readonly kind: DifferenceKind;
}

export interface Note extends Finding {
  readonly kind: NoteKind;
}

/** What an audit found. Also the JSON of `rollcall audit -o json`, of `/v1/audit`, and in the store. */
export interface AuditReport {
  readonly schemaVersion: 1;
  /** Names of the clusters that were compared. */
  readonly clusters: readonly string[];
  /** RFC 3339. */
  readonly startedAt: string;
  readonly finishedAt: string;
  /** The store's, of the roll that was compared last. */
  readonly revision: string;
  /** Nodes that are the same on both sides. */
  readonly agreeing: number;
  /** Present nodes that were not compared: registered in another cluster, region or account. */
  readonly elsewhere: number;
  /** By kind, then cluster, instance and ARN. */
  readonly differences: readonly Difference[];
  /** In the same order. */
  readonly notes: readonly Note[];
}

/** The node may or may not differ: without differences beside it, "they agree" would not be true. */
export function isUndecided(kind: NoteKind): boolean {
  return kind === 'unreadable' || kind === 'changing';
}

/** What the comparison says of one node, of one container instance, or of both as one. */
export interface Verdict {
  readonly kind: 'agreeing' | 'elsewhere' | DifferenceKind | NoteKind;
  /** The container instance it is about. Each is in exactly one verdict. */
  readonly instance: ContainerInstance | null;
  /** The present node it is about. Each is in exactly one verdict. */
  readonly node: RollEntry | null;
  /** The last record of that EC2 instance, present or not. */
  readonly record: NodeRecord | null;
  /** RFC 3339; null: nobody knows. */
  readonly since: string | null;
  /** Empty where there is nothing to say. */
  readonly reason: string;
}

export function isDifference(kind: Verdict['kind']): kind is DifferenceKind {
  return (DIFFERENCE_KINDS as readonly string[]).includes(kind);
}

export function instanceIdOf({ instance, record }: Verdict): string | null {
  return record?.ec2InstanceId ?? instance?.ec2InstanceId ?? null;
}

export function arnOf({ instance, record }: Verdict): string | null {
  return instance?.containerInstanceArn ?? record?.containerInstanceArn ?? null;
}

/** The same for what two looks say of the same thing. */
export function verdictKey(verdict: Verdict): string {
  const kind = verdict.kind === 'disconnected-now' ? 'disconnected' : verdict.kind;
  return `${kind} ${instanceIdOf(verdict) ?? '-'} ${arnOf(verdict) ?? '-'}`;
}
