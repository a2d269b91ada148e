import type { NodeRecord } from '../../src/record/record.ts';
import type { Hold, Store } from '../../src/store/store.ts';
import { sampleRecord } from '../../test/support/sample-record.ts';
import type { BenchContext } from '../benchmark.ts';

const AT_ONCE = 32;
const TTL_MS = 3_600_000;

export interface RegisteredNode {
  readonly hold: Hold;
  readonly record: NodeRecord;
}

/** Nodes without agents, each registered as an agent would, with leases of its own that outlast the benchmark. */
export async function registerNodes(
  { clock, signal }: BenchContext,
  store: Store,
  count: number,
): Promise<readonly RegisteredNode[]> {
  const since = new Date(clock.wallMs()).toISOString();
  const nodes: RegisteredNode[] = [];
  let next = 0;
  const worker = async () => {
    for (let n = next++; n < count; n = next++) {
      const ec2InstanceId = instanceId(n);
      const privateIpAddress = `10.113.${n >> 8}.${n & 255}`;
      const record = sampleRecord({ ec2InstanceId, privateIpAddress, registeredAt: since });
      const session = record.sidecar.session;
      const registration = { instanceId: ec2InstanceId, session, since, ttlMs: TTL_MS, retentionMs: 2 * TTL_MS };
      const outcome = await store.register(registration, record, { takeover: true, signal });
      if (outcome.kind !== 'registered') throw new Error(`register ${ec2InstanceId}: ${outcome.kind}`);
      nodes.push({ hold: outcome.hold, record });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return nodes;
}

/** An odd number near 2^64 divided by the golden ratio: its multiples spread evenly, and none comes twice. */
const SPREAD = 0x9e3779b97f4a7c15n;

/** EC2's ids are spread evenly, and a large read is cut into pieces by that. */
function instanceId(n: number): string {
  return `i-0${BigInt.asUintN(64, BigInt(n) * SPREAD)
    .toString(16)
    .padStart(16, '0')}`;
}
