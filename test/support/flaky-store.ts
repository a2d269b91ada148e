import { untilAborted } from '../../src/lib/abort.ts';
import type { Store } from '../../src/store/store.ts';
import { StoreError } from '../../src/store/store-errors.ts';

/** A real store behind a network that can be cut: `refuse` answers each call with an error, `hang` never answers. */
export interface FlakyStore extends Store {
  network: 'up' | 'refuse' | 'hang';
  /** Calls are carried out, but the caller never hears of it. */
  loseAnswers: boolean;
  /** Names of calls that are refused while the network is up. */
  refused: readonly string[];
  /** `untilNotHeld` hears nothing. The memory store polls for it, which makes hours of simulated time long. */
  deaf: boolean;
  /** Names of the calls made, refused and hung ones included. */
  readonly calls: string[];
}

export function flakyStore(store: Store): FlakyStore {
  const calls: string[] = [];
  const through = async <T>(name: string, signal: AbortSignal, call: () => Promise<T>): Promise<T> => {
    calls.push(name);
    if (flaky.network === 'refuse' || flaky.refused.includes(name))
      throw new StoreError('connection refused', { retryable: true });
    if (flaky.network === 'hang') {
      await untilAborted(signal);
    }
    const answer = await call();
    if (flaky.loseAnswers) throw new StoreError('connection reset', { retryable: true });
    return answer;
  };
  const flaky: FlakyStore = {
    network: 'up',
    loseAnswers: false,
    refused: [],
    deaf: false,
    calls,
    label: store.label,
    register: (registration, record, options) =>
      through('register', options.signal, () => store.register(registration, record, options)),
    renew: (hold, signal) => through('renew', signal, () => store.renew(hold, signal)),
    untilNotHeld: async (hold, signal) => {
      if (flaky.deaf) await untilAborted(signal);
      const outcome = await store.untilNotHeld(hold, signal);
      if (flaky.network === 'refuse') throw new StoreError('connection reset', { retryable: true });
      if (flaky.network === 'hang') await untilAborted(signal);
      return outcome;
    },
    notHeld: (hold, signal) => through('notHeld', signal, () => store.notHeld(hold, signal)),
    otherNodes: (id, signal) => through('otherNodes', signal, () => store.otherNodes(id, signal)),
    renewRetention: (hold, signal) => through('renewRetention', signal, () => store.renewRetention(hold, signal)),
    update: (hold, record, signal) => through('update', signal, () => store.update(hold, record, signal)),
    depart: (hold, record, signal) => through('depart', signal, () => store.depart(hold, record, signal)),
    read: (signal) => through('read', signal, () => store.read(signal)),
    readSummaries: (signal) => through('readSummaries', signal, () => store.readSummaries(signal)),
    readOne: (id, signal) => through('readOne', signal, () => store.readOne(id, signal)),
    server: (signal) => through('server', signal, () => store.server(signal)),
    id: (signal) => through('id', signal, () => store.id(signal)),
    overdue: (ids, signal) => through('overdue', signal, () => store.overdue(ids, signal)),
    leaderLocks: {
      read: (lock, names, signal) => through('readLock', signal, () => store.leaderLocks.read(lock, names, signal)),
      campaign: (lock, candidate, signal) =>
        through('campaign', signal, () => store.leaderLocks.campaign(lock, candidate, signal)),
      renew: (term, signal) => through('renewLock', signal, () => store.leaderLocks.renew(term, signal)),
      list: (lock, start, signal) => through('listLock', signal, () => store.leaderLocks.list(lock, start, signal)),
      publish: (term, documents, signal, more) =>
        through('publish', signal, () => store.leaderLocks.publish(term, documents, signal, more)),
      differences: (signal) => through('differences', signal, () => store.leaderLocks.differences(signal)),
      resign: (term, signal) => through('resign', signal, () => store.leaderLocks.resign(term, signal)),
    },
    watch: (revision, signal) => store.watch(revision, signal),
    drainSlots: {
      read: (id, signal) => through('drainSlots.read', signal, () => store.drainSlots.read(id, signal)),
      list: (signal) => through('drainSlots.list', signal, () => store.drainSlots.list(signal)),
      take: (request, signal) => through('drainSlots.take', signal, () => store.drainSlots.take(request, signal)),
      replace: (held, claim, signal) =>
        through('drainSlots.replace', signal, () => store.drainSlots.replace(held, claim, signal)),
      renew: (held, signal) => through('drainSlots.renew', signal, () => store.drainSlots.renew(held, signal)),
      giveBack: (held, signal) => through('drainSlots.giveBack', signal, () => store.drainSlots.giveBack(held, signal)),
    },
    close: () => store.close(),
  };
  return flaky;
}
