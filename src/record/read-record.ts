import { FieldError, field } from './field.ts';
import { DEPARTURE_CAUSES, HEALTH_STATUSES, type NodeRecord } from './record.ts';

/** EC2 instance ids (`i-…`) and ECS Anywhere's (`mi-…`): https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html */
export const INSTANCE_ID = /^m?i-[0-9a-f]{8,32}$/;

/**
 * A record from parsed JSON, its fields in the order in which they are written. Fields that an older or newer writer
 * may lack become `null`; only what a reader cannot do without is required; what is not known is left out.
 * @throws FieldError
 */
export function readRecord(value: unknown): NodeRecord {
  const from = field.object(value, 'value');
  const health = field.object(from['health'], 'health');
  const sidecar = field.object(from['sidecar'], 'sidecar');
  const versionInfo = field.object(from['versionInfo'] ?? {}, 'versionInfo');
  const ec2InstanceId = field.text(from, 'ec2InstanceId');
  if (!INSTANCE_ID.test(ec2InstanceId)) throw new FieldError('ec2InstanceId: expected an instance id');
  return {
    schemaVersion: field.number(from, 'schemaVersion'),
    ec2InstanceId,
    containerInstanceArn: field.optionalText(from, 'containerInstanceArn'),
    cluster: field.optionalText(from, 'cluster'),
    versionInfo: {
      agentVersion: field.optionalText(versionInfo, 'agentVersion', 'versionInfo.'),
      agentHash: field.optionalText(versionInfo, 'agentHash', 'versionInfo.'),
    },
    privateIpAddress: field.optionalText(from, 'privateIpAddress'),
    publicIpAddress: field.optionalText(from, 'publicIpAddress'),
    privateDnsName: field.optionalText(from, 'privateDnsName'),
    availabilityZone: field.optionalText(from, 'availabilityZone'),
    region: field.optionalText(from, 'region'),
    instanceType: field.optionalText(from, 'instanceType'),
    imageId: field.optionalText(from, 'imageId'),
    accountId: field.optionalText(from, 'accountId'),
    instanceLifecycle: field.optionalText(from, 'instanceLifecycle'),
    machineId: field.optionalText(from, 'machineId'),
    labels: field.texts(from, 'labels'),
    health: {
      status: field.oneOf(HEALTH_STATUSES, health, 'status', 'health.'),
      since: field.text(health, 'since', 'health.'),
      checks: field.list(health, 'checks', 'health.').map(readCheck),
    },
    interruption: field.optional(from, 'interruption', (notice) => ({
      kind: field.text(notice, 'kind', 'interruption.'),
      action: field.optionalText(notice, 'action', 'interruption.'),
      time: field.optionalText(notice, 'time', 'interruption.'),
    })),
    departure: field.optional(from, 'departure', (departure) => ({
      cause: field.oneOf(DEPARTURE_CAUSES, departure, 'cause', 'departure.'),
      at: field.text(departure, 'at', 'departure.'),
    })),
    registeredAt: field.text(from, 'registeredAt'),
    sidecar: {
      version: field.text(sidecar, 'version', 'sidecar.'),
      session: field.text(sidecar, 'session', 'sidecar.'),
    },
  };
}

function readCheck(value: unknown): NodeRecord['health']['checks'][number] {
  const path = 'health.checks.';
  const check = field.object(value, 'health.checks');
  return {
    name: field.text(check, 'name', path),
    status: field.oneOf(HEALTH_STATUSES, check, 'status', path),
    reason: field.text(check, 'reason', path),
    since: field.text(check, 'since', path),
  };
}
