import { AwsError, invalidParameter } from './aws-error.ts';
import { type Circumstances, findInstance, type Operation, requireCluster, visibleInstances } from './operation.ts';
import { page } from './page.ts';
import type { RequestInput } from './request-input.ts';
import type { SimulatedInstance } from './simulated-instance.ts';
import { wireAttributes } from './wire-instance.ts';
import { type EcsWorld, withInstances } from './world.ts';

/** In one call, and of an instance beside those that ecs-agent registered. */
const MAX_ATTRIBUTES = 10;
const NAME = /^[A-Za-z0-9_./\\-]{1,128}$/;
const VALUE = /^(?! )[A-Za-z0-9_.@/\\: -]{1,128}(?<! )$/;
const AGENTS_OWN = /^(?:ecs|com\.amazonaws)\./;

export const putAttributes: Operation = (world, input, circumstances) =>
  changeAttributes(world, input, circumstances, (before, attribute) => {
    const name = attribute.requiredText('name');
    const value = attribute.text('value');
    if (!NAME.test(name)) throw invalidParameter(`Invalid attribute name: ${name}.`);
    if (value !== undefined && !VALUE.test(value)) throw invalidParameter(`Invalid attribute value: ${value}.`);
    const after = new Map(before).set(name, value ?? null);
    if ([...after.keys()].filter((one) => !AGENTS_OWN.test(one)).length > MAX_ATTRIBUTES) {
      throw new AwsError(
        'AttributeLimitExceededException',
        `A resource can have at most ${MAX_ATTRIBUTES} attributes.`,
      );
    }
    return after;
  });

/** With a value it deletes the attribute only if it has that value. */
export const deleteAttributes: Operation = (world, input, circumstances) =>
  changeAttributes(world, input, circumstances, (before, attribute) => {
    const name = attribute.requiredText('name');
    const value = attribute.text('value');
    const after = new Map(before);
    if (value === undefined || before.get(name) === value) after.delete(name);
    return after;
  });

export const listAttributes: Operation = (world, input, circumstances) => {
  const cluster = requireCluster(world, input, circumstances);
  requireTargetType(input);
  const [name, value] = [input.text('attributeName'), input.text('attributeValue')];
  const all = visibleInstances(world, cluster, circumstances.nowMs).flatMap((instance) =>
    wireAttributes(instance)
      .filter((one) => one.name === (name ?? one.name) && one.value === (value ?? one.value))
      .map((one) => ({ ...one, targetId: instance.containerInstanceArn })),
  );
  const { items, ...next } = page(
    all.map((one) => [`${one.targetId} ${one.name}`, one] as const),
    `ListAttributes ${cluster} ${name ?? ''} ${value ?? ''}`,
    input,
  );
  return { world, body: { attributes: items, ...next } };
};

type Change = (before: SimulatedInstance['attributes'], attribute: RequestInput) => SimulatedInstance['attributes'];

function changeAttributes(world: EcsWorld, input: RequestInput, circumstances: Circumstances, change: Change) {
  const cluster = requireCluster(world, input, circumstances);
  const attributes = input.items('attributes', MAX_ATTRIBUTES);
  if (attributes.length === 0) throw invalidParameter('attributes can not be blank.');
  const changed = new Map<string, SimulatedInstance>();
  for (const attribute of attributes) {
    const target = attribute.requiredText('targetId');
    if (!target.startsWith('arn:')) requireTargetType(attribute);
    const instance = findInstance(world, cluster, target, circumstances.nowMs);
    if (!instance) throw new AwsError('TargetNotFoundException', `The target ${target} could not be found.`);
    const { containerInstanceArn: arn } = instance;
    const before = changed.get(arn) ?? instance;
    changed.set(arn, { ...before, attributes: change(before.attributes, attribute) });
  }
  const answered = input.items('attributes', MAX_ATTRIBUTES).map((attribute) => ({
    name: attribute.requiredText('name'),
    value: attribute.text('value'),
    targetId: attribute.requiredText('targetId'),
  }));
  return { world: withInstances(world, [...changed.values()]), body: { attributes: answered } };
}

function requireTargetType(input: RequestInput): void {
  if (input.text('targetType') !== 'container-instance')
    throw invalidParameter('targetType should be container-instance.');
}
