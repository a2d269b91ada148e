import { type NodeRecord, SCHEMA_VERSION } from '../../src/record/record.ts';

/** The instance id of the `n`th sample node, in ascending order: `i-00000000`, `i-00000001`, … */
export function sampleInstanceId(n = 0): string {
  return `i-${n.toString(16).padStart(8, '0')}`;
}

/** An odd number near 2^64 divided by the golden ratio: its multiples are all different and spread evenly. */
const SPREAD = 0x9e3779b97f4a7c15n;

/** The instance id of the `n`th of a fleet whose ids are spread evenly, as EC2's are. */
export function spreadInstanceId(n: number): string {
  return `i-0${BigInt.asUintN(64, BigInt(n) * SPREAD)
    .toString(16)
    .padStart(16, '0')}`;
}

/** A whole record as a healthy, registered node publishes it; `overrides` replace top-level fields. */
export function sampleRecord(overrides: Partial<NodeRecord> = {}): NodeRecord {
  const ec2InstanceId = overrides.ec2InstanceId ?? sampleInstanceId();
  return {
    schemaVersion: SCHEMA_VERSION,
    ec2InstanceId,
    containerInstanceArn: `arn:aws:ecs:us-east-1:123456789012:container-instance/demo/${ec2InstanceId}`,
    cluster: 'demo',
    versionInfo: { agentVersion: '1.70.0', agentHash: '0e7482df' },
    privateIpAddress: '10.113.0.23',
    publicIpAddress: null,
    privateDnsName: 'ip-10-113-0-23.ec2.internal',
    availabilityZone: 'us-east-1a',
    region: 'us-east-1',
    instanceType: 'm5.large',
    imageId: 'ami-0123456789abcdef0',
    accountId: '123456789012',
    instanceLifecycle: 'on-demand',
    machineId: '0123456789abcdef0123456789abcdef',
    labels: { role: 'node' },
    health: {
      status: 'passing',
      since: '2026-01-01T00:00:00.000Z',
      checks: [{ name: 'ecs-agent', status: 'passing', reason: '', since: '2026-01-01T00:00:00.000Z' }],
    },
    interruption: null,
    departure: null,
    clockSkewSeconds: 0,
    registeredAt: '2026-01-01T00:00:00.000Z',
    sidecar: { version: '0.1.0', session: 'session-a' },
    ...overrides,
  };
}
