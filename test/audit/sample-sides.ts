import type { BothSides } from '../../src/audit/compare.ts';
import type { ContainerInstance } from '../../src/ecs/ecs-api.ts';
import type { Departure, NodeRecord } from '../../src/record/record.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { sampleContainerInstance } from '../support/sample-container-instance.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

export const NOW_MS = Date.UTC(2026, 0, 2);
export const SCOPE = 'arn:aws:ecs:us-east-1:123456789012';

/** An instant before `NOW_MS`. */
export const ago = (minutes: number) => new Date(NOW_MS - minutes * 60_000).toISOString();

/** @param registration 0, 1, …: an EC2 instance may have several container instances */
export function sampleArn(n: number, cluster = 'demo', registration = 0): string {
  return `${SCOPE}:container-instance/${cluster}/${(n * 16 + registration).toString(16).padStart(32, '0')}`;
}

export function sampleNode(n: number, overrides: Partial<NodeRecord> = {}): RollEntry {
  const record = sampleRecord({
    ec2InstanceId: sampleInstanceId(n),
    containerInstanceArn: sampleArn(n),
    privateIpAddress: `10.0.0.${n}`,
    ...overrides,
  });
  return { record, presence: { session: 's', since: ago(600), ttlSeconds: 30 } };
}

/** @param departure null: lost */
export function absentNode(n: number, departure: Departure | null, overrides: Partial<NodeRecord> = {}): RollEntry {
  return { record: { ...sampleNode(n, overrides).record, departure }, presence: null };
}

export function sampleInstance(n: number, overrides: Partial<ContainerInstance> = {}): ContainerInstance {
  return sampleContainerInstance(sampleArn(n), sampleInstanceId(n), { registeredAt: ago(600), ...overrides });
}

export function sampleSides(
  entries: readonly RollEntry[],
  instances: readonly ContainerInstance[],
  overrides: Partial<BothSides> = {},
): BothSides {
  const scopes = new Set([SCOPE]);
  return { roll: { entries, skipped: [] }, clusters: ['demo'], all: false, scopes, instances, ...overrides };
}
