import type { InterruptionKind, MetadataFacts } from './record.ts';

/**
 * What may decide a node's health, all of it, with the reason for each. Everything else that an agent reads is
 * decorative: where it cannot be read it is null in the record, one line of the log says so, and no check changes. No
 * source is in between: one that fails without a check is a node that is blind and does not know it, and one decorative
 * fact that fails a check takes a sound node out of service.
 */

/** The built-in checks, in the order of the record; the operator's checks follow by name. */
const OWN_CHECKS = {
  metadata: 'the node is on the roll by its instance id, and readers connect to its private address',
  'ecs-agent': 'without a registered ecs-agent no task can be placed on the node',
  'ecs-connection':
    'ECS starts and stops no task where it has ecs-agent disconnected; only where the continuous audit runs',
  notices: 'a node that does not hear of its interruption is not drained before it, and departs for the wrong cause',
  docker: 'without docker no task starts',
  disk: 'without space docker cannot write, so no task starts',
  store: 'without the store the node is not on the roll; not in the record, which the store would not take then',
} as const;
export const OWN_CHECK_NAMES = Object.keys(OWN_CHECKS);

/**
 * Facts of EC2's metadata, or of the SSM registration, that decide the check `metadata`. Decorative: the public address,
 * the DNS name, zone, region, instance type, image, account and life cycle. So is a document that cannot be read, as long
 * as the single values can.
 */
export const DECIDING_METADATA: Partial<Record<keyof MetadataFacts, string>> = {
  ec2InstanceId: 'it is the key of the record: without it there is none (critical)',
  privateIpAddress: 'readers connect to it, and an old one may be another host’s by now (warning)',
};

/** Kinds of notices whose source decides the check `notices` (warning). */
export const DECIDING_NOTICES: Partial<Record<InterruptionKind, string>> = {
  'spot-interruption': 'EC2 takes the node away two minutes later',
  'asg-termination': 'the Auto Scaling group ends the node',
  maintenance: 'EC2 stops or reboots the node',
  // Not rebalance-recommendation: it takes no node away, and drains none.
};

/*
 * Of ecs-agent, the ARN and the cluster decide the check `ecs-agent` (critical; an ARN of null is a warning); its version
 * is decorative. So is the machine id. Each probe decides its own check.
 */
