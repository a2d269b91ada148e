import type { EtcdServer } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';

const PRESENCES = '/rollcall/v1/presence/';

/** From the end of a lease: etcd ends leases twice a second, and a read here takes as long. */
const LATE_MS = 2_000;
/** etcd tells whole seconds, rounded down. */
const ROUNDED_MS = 1_000;
/** How long one that stays too long is waited for, so that it can be said how long it stayed. */
const GIVE_UP_TTLS = 3;

type Etcdctl = Pick<EtcdServer, 'etcdctl'>;

interface LeaseTime {
  readonly grantedMs: number;
  readonly remainingMs: number;
}

/**
 * Whether each of these nodes has a presence whose lease etcd granted for the TTL, and that has no more than the TTL left.
 * Asked of etcd itself, since an agent that keeps another TTL looks well for as long as it lives.
 * @returns what is wrong, a line each
 */
export async function wrongLeases(etcd: Etcdctl, instanceIds: readonly string[], ttlMs: number): Promise<string[]> {
  const wrong: string[] = [];
  for (const id of instanceIds) {
    const time = await leaseTimeOf(etcd, id);
    if (time === null) wrong.push(`${id} has no presence on a lease`);
    else if (time.grantedMs !== ttlMs)
      wrong.push(`the lease of ${id} is granted for ${time.grantedMs} ms, not ${ttlMs} ms`);
    else if (time.remainingMs > ttlMs) wrong.push(`the lease of ${id} has ${time.remainingMs} ms left of ${ttlMs} ms`);
  }
  return wrong;
}

/**
 * Ends the agent of one node by `kill` while its lease has most of its time left, and waits for the end of its presence.
 * @returns what is wrong: it stayed for longer than what was left of the TTL
 */
export async function overstay(
  etcd: Etcdctl,
  instanceId: string,
  ttlMs: number,
  kill: () => Promise<void>,
): Promise<string[]> {
  await kill();
  const left = await leaseTimeOf(etcd, instanceId);
  const limitMs = Math.min(ttlMs, (left?.remainingMs ?? 0) + ROUNDED_MS) + LATE_MS;
  try {
    const stayedMs = await until('the presence ends', GIVE_UP_TTLS * ttlMs + LATE_MS, async () => {
      return (await leaseOf(etcd, instanceId)) === null;
    });
    if (stayedMs <= limitMs) return [];
    return [`${instanceId} stayed present for ${Math.round(stayedMs)} ms after its agent was dead, not ${limitMs} ms`];
  } catch (error) {
    return [`${instanceId} stays present although its agent is dead: ${String(error)}`];
  }
}

/** null: it has no presence, or none on a lease. */
async function leaseTimeOf(etcd: Etcdctl, instanceId: string): Promise<LeaseTime | null> {
  const lease = await leaseOf(etcd, instanceId);
  if (lease === null) return null;
  const { ttl, 'granted-ttl': granted } = JSON.parse(await etcd.etcdctl('lease', 'timetolive', lease, '-w', 'json'));
  return ttl < 0 ? null : { grantedMs: granted * 1_000, remainingMs: ttl * 1_000 };
}

/** In hexadecimal digits, as etcdctl takes it. It has more digits than a number in JSON can hold. */
async function leaseOf(etcd: Etcdctl, instanceId: string): Promise<string | null> {
  const text = await etcd.etcdctl('get', PRESENCES + instanceId, '-w', 'json');
  const lease = /"lease":(\d+)/.exec(text)?.[1];
  return lease === undefined ? null : BigInt(lease).toString(16);
}
