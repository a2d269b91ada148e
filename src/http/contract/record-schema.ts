import { INSTANCE_ID } from '../../record/codec.ts';
import { DEPARTURE_CAUSES, HEALTH_STATUSES, INTERRUPTION_KINDS, SCHEMA_VERSION } from '../../record/record.ts';
import { PRESENCE_STATES } from '../../record/roll.ts';
import { count, instant, listOf, mapOf, objectOf, oneOf, orNull, type Schema, text } from './json-schema.ts';

export const instanceId: Schema = { type: 'string', pattern: INSTANCE_ID.source };
const healthStatus = oneOf(HEALTH_STATUSES);

const check = objectOf({
  name: text(),
  status: healthStatus,
  reason: text('One line; empty: none'),
  since: instant('When this status began'),
});

const properties = {
  schemaVersion: { type: 'integer', const: SCHEMA_VERSION },
  ec2InstanceId: instanceId,
  containerInstanceArn: orNull(text('Null while ecs-agent has not registered')),
  cluster: orNull(text('Name of the ECS cluster')),
  versionInfo: objectOf({ agentVersion: orNull(text()), agentHash: orNull(text()) }),
  privateIpAddress: orNull(text()),
  publicIpAddress: orNull(text()),
  privateDnsName: orNull(text()),
  availabilityZone: orNull(text()),
  region: orNull(text()),
  instanceType: orNull(text()),
  imageId: orNull(text()),
  accountId: orNull(text()),
  instanceLifecycle: orNull(text('on-demand, spot or scheduled')),
  machineId: orNull(text('Of /etc/machine-id')),
  labels: mapOf(text()),
  health: objectOf({ status: healthStatus, since: instant(), checks: listOf(check) }),
  interruption: orNull(
    objectOf({
      kind: text(INTERRUPTION_KINDS.join(', ')),
      action: orNull(text()),
      time: orNull(text('RFC 3339')),
    }),
  ),
  departure: orNull(objectOf({ cause: oneOf(DEPARTURE_CAUSES), at: instant() })),
  clockSkewSeconds: orNull({ type: 'integer', description: 'By which the clock of the node is ahead of that of EC2' }),
  registeredAt: instant(),
  sidecar: objectOf({ version: text(), session: text('Of the process that wrote the record') }),
} as const;

export const recordSchema: Schema = {
  description: 'What a node publishes of itself. Names are those of DescribeContainerInstances of ECS where it has one',
  ...objectOf(properties),
};

export const presenceSchema: Schema = {
  description: 'Whether the agent of the node holds its lease. All but the state are null while it does not',
  ...objectOf({
    state: oneOf(PRESENCE_STATES),
    session: orNull(text()),
    since: orNull(instant()),
    ttlSeconds: orNull(count()),
  }),
};

/** @param presence names `presenceSchema` */
export function instanceSchema(presence: Schema): Schema {
  return { description: 'The record of a node and its presence', ...objectOf({ ...properties, presence }) };
}
