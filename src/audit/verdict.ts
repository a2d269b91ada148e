import type { ContainerInstance } from '../ecs/container-instance.ts';
import type { NodeRecord } from '../record/record.ts';
import type { RollEntry } from '../record/roll.ts';
import { DIFFERENCE_KINDS, type DifferenceKind, type NoteKind } from './audit-report.ts';

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
