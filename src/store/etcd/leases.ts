import type { Kv, LeaseTime } from '../kv.ts';
import { LeaseNotFoundError } from '../store-error.ts';
import type { Gateway } from './gateway.ts';
import { int64Field, type JsonObject, JunkAnswerError } from './json-fields.ts';

/** Of a sample of leases asked for at the same time: some at once, not a new connection for each. */
const PARALLEL_QUESTIONS = 8;

/** Lease ids are etcd's, as decimal text. */
export function etcdLeases(gateway: Gateway): Pick<Kv, 'grant' | 'keepAlive' | 'remaining' | 'releaseEmpty'> {
  return {
    grant: (ttlMs, signal) => {
      const body = { TTL: String(Math.ceil(ttlMs / 1_000)) };
      // Granted twice, the one that nobody heard of runs out by itself.
      return gateway.call({ path: '/v3/lease/grant', body, repeatable: true }, signal, (answer) => {
        const lease = int64Field(answer, 'ID');
        const grantedMs = Number(int64Field(answer, 'TTL')) * 1_000;
        if (lease === '0' || grantedMs <= 0) throw new JunkAnswerError('the answer grants no lease');
        return { lease, ttlMs: grantedMs };
      });
    },

    keepAlive: (lease, signal) =>
      gateway.call({ path: '/v3/lease/keepalive', body: { ID: lease }, repeatable: true }, signal, (answer) => {
        requireAbout(lease, answer);
        // A lease that is gone is answered with 200 and no TTL (observed on 3.4).
        return int64Field(answer, 'TTL') !== '0';
      }),

    remaining: async (leases, signal) => {
      const times: (LeaseTime | null)[] = [];
      for (let first = 0; first < leases.length; first += PARALLEL_QUESTIONS) {
        const some = leases.slice(first, first + PARALLEL_QUESTIONS);
        times.push(...(await Promise.all(some.map((lease) => timeToLive(gateway, lease, signal)))));
      }
      return times;
    },

    // Two steps, because etcd has no "revoke if empty". A write that is still on its way could attach keys in between:
    // the caller must know that none is.
    releaseEmpty: async (lease, signal) => {
      const asked = { path: '/v3/lease/timetolive', body: { ID: lease, keys: true }, repeatable: true };
      const empty = await gateway.call(asked, signal, (answer) => {
        const keys = answer['keys'];
        return int64Field(answer, 'TTL') !== '-1' && (!Array.isArray(keys) || keys.length === 0);
      });
      if (!empty) return;
      try {
        await gateway.call({ path: '/v3/lease/revoke', body: { ID: lease }, repeatable: true }, signal, () => {});
      } catch (error) {
        if (!(error instanceof LeaseNotFoundError)) throw error;
      }
    },
  };
}

/** Answered from the leader's memory, without a Raft write. */
function timeToLive(gateway: Gateway, lease: string, signal: AbortSignal): Promise<LeaseTime | null> {
  return gateway.call({ path: '/v3/lease/timetolive', body: { ID: lease }, repeatable: true }, signal, (answer) => {
    requireAbout(lease, answer);
    const remainingS = Number(int64Field(answer, 'TTL'));
    // Whole seconds, rounded down; a lease that is gone has -1 of them (observed on 3.4).
    if (remainingS < 0) return null;
    return { remainingMs: remainingS * 1_000 + 500, grantedMs: Number(int64Field(answer, 'grantedTTL')) * 1_000 };
  });
}

/** Without it, `{}` from something that is no etcd would read as "gone" and make a healthy node register again. */
function requireAbout(lease: string, answer: JsonObject): void {
  if (int64Field(answer, 'ID') !== lease) {
    throw new JunkAnswerError('the answer is not about the lease that was asked for');
  }
}
