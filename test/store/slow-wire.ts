import assert from 'node:assert/strict';
import type { Kv, TxnResult } from '../../src/store/kv.ts';
import { StoreError } from '../../src/store/store-errors.ts';

/** A real store behind a wire that can keep back writes: the caller gets an error, the store gets them later. */
export interface SlowWire {
  readonly kv: Kv;
  /** The next write is kept back, whatever it is. */
  keepNext(): void;
  /** The write that was kept back last, for the test to hand on itself. */
  take(): () => Promise<TxnResult>;
  /** Hands on what was kept back. */
  deliver(): Promise<TxnResult[]>;
  /** The answer to the next write is lost, after the store carried it out. */
  loseNextAnswer(): void;
  /** Leases that were asked to be ended. */
  readonly released: string[];
  /** Whether ending a lease hangs until the store is closed. */
  releaseHangs: boolean;
}

const lost = () => new StoreError('connection reset', { retryable: true });

export function slowWire(real: Kv): SlowWire {
  let next: 'through' | 'keep' | 'lose' = 'through';
  const kept: (() => Promise<TxnResult>)[] = [];
  const closed = Promise.withResolvers<never>();
  closed.promise.catch(() => {});
  const wire: SlowWire = {
    released: [],
    releaseHangs: false,
    keepNext: () => {
      next = 'keep';
    },
    take: () => kept.pop() ?? assert.fail('nothing was kept back'),
    loseNextAnswer: () => {
      next = 'lose';
    },
    deliver: () => Promise.all(kept.splice(0).map((send) => send())),
    kv: Object.assign(Object.create(real) as Kv, {
      txn: async (...[txn, signal]: Parameters<Kv['txn']>) => {
        const what = txn.puts.length + txn.deletes.length > 0 ? next : 'through';
        if (what !== 'through') next = 'through';
        if (what === 'keep') {
          kept.push(() => real.txn(txn, signal));
          throw lost();
        }
        const result = await real.txn(txn, signal);
        if (what === 'lose') throw lost();
        return result;
      },
      releaseEmpty: (...[lease, signal]: Parameters<Kv['releaseEmpty']>) => {
        wire.released.push(lease);
        return wire.releaseHangs ? closed.promise : real.releaseEmpty(lease, signal);
      },
      close: async () => {
        closed.reject(lost());
        await real.close();
      },
    }),
  };
  return wire;
}
