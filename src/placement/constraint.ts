import type { ContainerInstance } from '../ecs/container-instance.ts';
import type { NodeRecord } from '../record/record.ts';

/** A condition on a node. A node on which the name is not set meets `!=` and never `==`. */
export interface Constraint {
  /** A label of rollcall's, `az`, `instance-type`, or `attribute:NAME` for an attribute in ECS. */
  readonly name: string;
  readonly operator: '==' | '!=';
  readonly value: string;
}

const ATTRIBUTE = 'attribute:';

/** Why the node does not meet the constraint; null: it does. */
export function unmetReason(constraint: Constraint, record: NodeRecord, instance: ContainerInstance): string | null {
  const { name, operator, value } = constraint;
  const actual = actualValue(name, record, instance);
  if ((actual === value) === (operator === '==')) return null;
  return `constraint ${name}${operator}${value}: ${actual === null ? `${name} is not set` : `${name} is ${actual}`}`;
}

function actualValue(name: string, record: NodeRecord, instance: ContainerInstance): string | null {
  const attribute = (wanted: string) => {
    const found = instance.attributes.find((each) => each.name === wanted);
    return found ? (found.value ?? '') : null;
  };
  // ecs-agent sets both attributes itself; the record lacks what EC2's metadata service did not say.
  if (name === 'az') return record.availabilityZone ?? attribute('ecs.availability-zone');
  if (name === 'instance-type') return record.instanceType ?? attribute('ecs.instance-type');
  if (name.startsWith(ATTRIBUTE)) return attribute(name.slice(ATTRIBUTE.length));
  return Object.hasOwn(record.labels, name) ? (record.labels[name] ?? null) : null;
}
