import type { RollNode } from '../../scripts/lib/roll-node.ts';

/** A node that is present and well. */
export function sampleNode(changes: Partial<RollNode> = {}): RollNode {
  return {
    ec2InstanceId: 'i-12345678',
    containerInstanceArn:
      'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/6b107562-f96a-4528-94dd-81f93d812a63',
    cluster: 'demo',
    machineId: 'a'.repeat(32),
    privateIpAddress: '10.113.0.23',
    publicIpAddress: null,
    health: { status: 'passing' },
    departure: null,
    sidecar: { session: 'new' },
    presence: { state: 'present' },
    ...changes,
  };
}
