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
  const ec2InstanceId = field.text(from['ec2InstanceId'], 'ec2InstanceId');
  if (!INSTANCE_ID.test(ec2InstanceId)) throw new FieldError('ec2InstanceId: expected an instance id');
  return {
    schemaVersion: field.number(from['schemaVersion'], 'schemaVersion'),
    ec2InstanceId,
    containerInstanceArn: field.optionalText(from['containerInstanceArn'], 'containerInstanceArn'),
    cluster: field.optionalText(from['cluster'], 'cluster'),
    versionInfo: {
      agentVersion: field.optionalText(versionInfo['agentVersion'], 'versionInfo.agentVersion'),
      agentHash: field.optionalText(versionInfo['agentHash'], 'versionInfo.agentHash'),
    },
    privateIpAddress: field.optionalText(from['privateIpAddress'], 'privateIpAddress'),
    publicIpAddress: field.optionalText(from['publicIpAddress'], 'publicIpAddress'),
    privateDnsName: field.optionalText(from['privateDnsName'], 'privateDnsName'),
    availabilityZone: field.optionalText(from['availabilityZone'], 'availabilityZone'),
    region: field.optionalText(from['region'], 'region'),
    instanceType: field.optionalText(from['instanceType'], 'instanceType'),
    imageId: field.optionalText(from['imageId'], 'imageId'),
    accountId: field.optionalText(from['accountId'], 'accountId'),
    instanceLifecycle: field.optionalText(from['instanceLifecycle'], 'instanceLifecycle'),
    machineId: field.optionalText(from['machineId'], 'machineId'),
    labels: field.texts(from['labels'], 'labels'),
    health: {
      status: field.oneOf(HEALTH_STATUSES, health['status'], 'health.status'),
      since: field.text(health['since'], 'health.since'),
      checks: field.list(health['checks'], 'health.checks').map(readCheck),
    },
    interruption: field.optional(from['interruption'], 'interruption', (notice) => ({
      kind: field.text(notice['kind'], 'interruption.kind'),
      action: field.optionalText(notice['action'], 'interruption.action'),
      time: field.optionalText(notice['time'], 'interruption.time'),
    })),
    departure: field.optional(from['departure'], 'departure', (departure) => ({
      cause: field.oneOf(DEPARTURE_CAUSES, departure['cause'], 'departure.cause'),
      at: field.text(departure['at'], 'departure.at'),
    })),
    registeredAt: field.text(from['registeredAt'], 'registeredAt'),
    sidecar: {
      version: field.text(sidecar['version'], 'sidecar.version'),
      session: field.text(sidecar['session'], 'sidecar.session'),
    },
  };
}

function readCheck(value: unknown): NodeRecord['health']['checks'][number] {
  const check = field.object(value, 'health.checks');
  return {
    name: field.text(check['name'], 'health.checks.name'),
    status: field.oneOf(HEALTH_STATUSES, check['status'], 'health.checks.status'),
    reason: field.text(check['reason'], 'health.checks.reason'),
    since: field.text(check['since'], 'health.checks.since'),
  };
}
