import type { Attribute } from '../ecs/container-instance.ts';
import type { NodeRecord } from '../record/record.ts';

/** All that rollcall puts on a container instance, and so all that it ever deletes, begins with this. */
export const OWN_PREFIX = 'rollcall.';
export const HEALTH_ATTRIBUTE = 'rollcall.health';
/** What `rollcall.health` says of a node whose agent said goodbye. */
export const DEPARTED = 'departed';

/**
 * Custom attributes on one container instance, whoever put them there:
 * https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PutAttributes.html (AttributeLimitExceededException)
 */
const MAX_CUSTOM = 10;
/** https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Attribute.html */
const NAME = /^[A-Za-z0-9_.\-/]{1,128}$/;
const VALUE = /^(?! )[A-Za-z0-9 ._\-/\\@:]{1,128}(?<! )$/;

export interface WantedAttributes {
  /** In the order of their importance. */
  readonly attributes: readonly Attribute[];
  /** One line each, for a person: what ECS cannot have, and why. */
  readonly leftOut: readonly string[];
}

/**
 * What ECS should have on this node's container instance; pure.
 * @param others how many custom attributes somebody else put there: all share ECS's limit
 */
export function wantedAttributes(record: NodeRecord, leaving: boolean, others: number): WantedAttributes {
  const all: Attribute[] = [{ name: HEALTH_ATTRIBUTE, value: leaving ? DEPARTED : record.health.status }];
  if (record.machineId !== null) all.push({ name: `${OWN_PREFIX}machine-id`, value: record.machineId });
  const leftOut: string[] = [];
  for (const key of Object.keys(record.labels).sort()) {
    const value = record.labels[key] ?? '';
    const attribute = { name: `${OWN_PREFIX}label.${key}`, value: value === '' ? null : value };
    if (expressible(attribute)) all.push(attribute);
    else leftOut.push(`label ${key}: ECS takes letters, digits, spaces within and . _ - / \\ @ : alone`);
  }
  const room = Math.max(1, MAX_CUSTOM - others);
  for (const { name } of all.slice(room)) {
    leftOut.push(`${name}: ECS has at most ${MAX_CUSTOM} attributes on an instance, ${others} of them not rollcall's`);
  }
  return { attributes: all.slice(0, room), leftOut };
}

/** An attribute that neither ECS itself nor rollcall put there. */
export function isOthers({ name }: Attribute): boolean {
  return !/^(ecs|com\.amazonaws)\./.test(name) && !name.startsWith(OWN_PREFIX);
}

function expressible({ name, value }: Attribute): boolean {
  return NAME.test(name) && (value === null || VALUE.test(value));
}
