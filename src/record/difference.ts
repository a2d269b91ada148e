import { isWord, printable } from '../lib/foreign-text.ts';
import { isAddress } from './address.ts';
import { type Decoded, decodeBounded, FieldError, field, INSTANCE_ID } from './codec.ts';

/** Differences between the roll and ECS that the store keeps while they last, so that they are events. */
export const KEPT_DIFFERENCE_KINDS = ['ghost', 'stray', 'mismatch'] as const;
type KeptDifferenceKind = (typeof KEPT_DIFFERENCE_KINDS)[number];

/** What an audit says of one node or container instance. */
export interface Finding {
  /** null if ECS has no instance id for it. */
  readonly instanceId: string | null;
  readonly cluster: string | null;
  /** From ECS; for a node that is only on the roll, from its record. */
  readonly containerInstanceArn: string | null;
  readonly privateIpAddress: string | null;
  /** Known to be so since (RFC 3339); null: unknown. */
  readonly since: string | null;
  /** One line for the user. It has no value that changes with time. */
  readonly reason: string;
}

/** One difference, as the continuous audit wrote it. Its agent is another node: every field is checked on reading. */
export interface KeptDifference extends Finding {
  readonly kind: KeptDifferenceKind;
}

/** More are not read: twice what an audit keeps. */
export const MAX_DIFFERENCES = 1_000;

export function encodeDifference(difference: KeptDifference): string {
  const { kind, instanceId, cluster, containerInstanceArn, privateIpAddress, since, reason } = difference;
  return JSON.stringify({ kind, instanceId, cluster, containerInstanceArn, privateIpAddress, since, reason });
}

export function decodeDifference(json: string): Decoded<KeptDifference> {
  return decodeBounded(json, readDifference);
}

const MAX_REASON_CHARACTERS = 1_000;

/** @throws FieldError */
export function readDifference(value: unknown): KeptDifference {
  const from = field.object(value, 'difference');
  const one = (name: string, accepts: (text: string) => boolean) => {
    const text = field.optionalText(from[name], name);
    if (text !== null && !accepts(text)) throw new FieldError(`${name}: not what it should be`);
    return text;
  };
  return {
    kind: field.oneOf(KEPT_DIFFERENCE_KINDS, from['kind'], 'kind'),
    instanceId: one('instanceId', (text) => INSTANCE_ID.test(text)),
    cluster: one('cluster', isWord),
    containerInstanceArn: one('containerInstanceArn', isWord),
    privateIpAddress: one('privateIpAddress', isAddress),
    since: one('since', (text) => Number.isFinite(Date.parse(text)) && isWord(text)),
    reason: printable(field.text(from['reason'], 'reason')).slice(0, MAX_REASON_CHARACTERS),
  };
}
