import { onAbort } from '../../src/lib/abort.ts';
import { type Channel, type Conversation, RpcError } from '../../src/store/etcd/channel.ts';
import type { Cluster, WatchHandle } from './etcd/cluster.ts';
import type { Process } from './host.ts';
import { remove } from './remove.ts';
import { QUIET, type Scheduler, type Step } from './scheduler.ts';

/** Pings of a connection that carries something find within this that it is dead. */
export const DEAD_AFTER_MS = 9_000;
const BASE_MS = 0.5;
const JITTER_MS = 2;
/** A packet that was lost is sent again after this or a few times this. */
const RESEND_MS = 300;

/** Between one host and one member. `silent`: nothing passes, and nothing says so; `refused`: connections are reset. */
export type Cut = 'silent' | 'refused' | null;

/** What disturbs one of them. */
export interface LinkState {
  readonly cut: Cut;
  /** The share of messages of which a packet is lost, 0 to 1. */
  readonly loss: number;
}

interface Link extends LinkState {
  cut: Cut;
  loss: number;
  /** Counts the cuts, so that a timer knows whether its cut is still the one. */
  cuts: number;
  /** What waits for the cut to end. */
  held: Step[];
  readonly underWay: Flight[];
}

/** Goes on counting. */
export interface Count {
  readonly number: number;
}

interface Counter extends Count {
  number: number;
}

/** A call or a stream that has not ended. */
interface Flight {
  fail(error: RpcError): void;
}

export interface Network {
  /** A connection of one process to one member, as the store's engine for etcd opens it. */
  channel(hostName: string, process: Process, member: number): Channel;
  cut(hostName: string, member: number, how: Cut): void;
  setLoss(hostName: string, member: number, loss: number): void;
  /** Every connection of a member is dead: it was stopped, or does not answer pings. */
  hangUp(member: number): void;
  /** To each member, as they are at any time. */
  linksOf(hostName: string): readonly LinkState[];
  /** Requests of a host. */
  requestsOf(hostName: string): Count;
  /** Calls and streams of one process that have not ended. */
  underWay(process: Process): number;
  /** The members to which the process has a watch open. */
  watching(process: Process): readonly number[];
}

export function createNetwork(scheduler: Scheduler, random: () => number, cluster: Cluster): Network {
  /** Of each host, to each member. */
  const links = new Map<string, Link[]>();
  const running = new Map<Process, Set<number>>();
  // A number in an object of its own: it is counted with each request, and looked up seldom.
  const counts = new Map<Process, Counter>();
  const sent = new Map<string, Counter>();

  function linksOf(hostName: string): readonly Link[] {
    let ofHost = links.get(hostName);
    if (!ofHost) {
      ofHost = Array.from({ length: cluster.size }, (): Link => {
        return { cut: null, loss: 0, cuts: 0, held: [], underWay: [] };
      });
      links.set(hostName, ofHost);
    }
    return ofHost;
  }

  const linkOf = (hostName: string, member: number) => linksOf(hostName)[member] as Link;

  function countOf<Key>(map: Map<Key, Counter>, key: Key): Counter {
    const known = map.get(key);
    if (known) return known;
    const made = { number: 0 };
    map.set(key, made);
    return made;
  }

  /** When a message that is sent now arrives. */
  function arrivalMs(link: Link): number {
    let delayMs = BASE_MS + JITTER_MS * random();
    while (link.loss > 0 && random() < link.loss && delayMs < 5_000) delayMs += RESEND_MS * (1 + 3 * random());
    return scheduler.nowMs() + delayMs;
  }

  function transmit(link: Link, arrive: Step, notBeforeMs = 0): number {
    const atMs = Math.max(arrivalMs(link), notBeforeMs);
    scheduler.at(atMs, () => pass(link, arrive));
    return atMs;
  }

  function pass(link: Link, arrive: Step): unknown {
    if (link.cut === null) return arrive();
    link.held.push(arrive);
    return QUIET;
  }

  const isDown = (member: number) => cluster.state(member) === 'down';

  function call(
    link: Link,
    hostName: string,
    process: Process,
    member: number,
    own: Flight[],
    closed: { is: boolean },
  ): Channel['call'] {
    const underWay = countOf(counts, process);
    const requests = countOf(sent, hostName);
    return ({ path }, message, _headers, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted || closed.is) {
          reject(signal.aborted ? signal.reason : shutDown());
          return;
        }
        let isOver = false;
        const isFirst = () => {
          if (isOver) return false;
          isOver = true;
          remove(link.underWay, flight);
          remove(own, flight);
          underWay.number -= 1;
          signal.removeEventListener('abort', abort);
          return true;
        };
        const abort = () => {
          if (isFirst()) reject(signal.reason);
        };
        const settle = (answer: Buffer | RpcError) =>
          process.deliver(() => {
            if (!isFirst()) return;
            if (answer instanceof RpcError) reject(answer);
            else resolve(answer);
          });
        const flight = { fail: settle };
        link.underWay.push(flight);
        own.push(flight);
        underWay.number += 1;
        requests.number += 1;
        signal.addEventListener('abort', abort, { once: true });
        if (link.cut === 'refused') {
          scheduler.after(BASE_MS, () => settle(refused()));
          return;
        }
        transmit(link, () => {
          // What its caller has given up may be carried out all the same.
          if (isOver && random() < 0.5) return QUIET;
          if (isDown(member)) {
            settle(refused());
            return;
          }
          cluster.request(member, path, message, hostName, (answer) => {
            transmit(link, () => settle(answer));
          });
          return QUIET;
        });
      });
  }

  function stream(
    link: Link,
    process: Process,
    member: number,
    own: Flight[],
    closed: { is: boolean },
  ): Channel['stream'] {
    const underWay = countOf(counts, process);
    return async function* (_path, messages, _headers, signal) {
      signal.throwIfAborted();
      if (closed.is) throw shutDown();
      const arrived: Buffer[] = [];
      let failure: { readonly reason: unknown } | null = null;
      let wake = () => {};
      let handle: WatchHandle | null = null;
      let isOver = false;
      let lastMs = 0;
      const fail = (reason: unknown) => {
        failure ??= { reason };
        wake();
      };
      // Nothing passes a connection that is dead, however late its process hears of that.
      let isDead = false;
      const flight = {
        fail(error: RpcError) {
          isDead = true;
          process.deliver(() => fail(error));
        },
      };
      const close = () => {
        if (isOver) return;
        isOver = true;
        remove(link.underWay, flight);
        remove(own, flight);
        underWay.number -= 1;
        running.get(process)?.delete(member);
        // The member hears of it, or of the end of the connection.
        handle?.close();
      };
      using _aborting = onAbort(signal, (reason) => {
        close();
        fail(reason);
      });
      link.underWay.push(flight);
      own.push(flight);
      underWay.number += 1;
      const inOrder = (arrive: () => void) => {
        lastMs = transmit(link, () => (isDead ? QUIET : process.deliver(arrive)), lastMs);
      };
      if (link.cut === 'refused') scheduler.after(BASE_MS, () => flight.fail(refused()));
      else {
        transmit(link, () => {
          if (isOver || !process.isAlive()) return;
          if (isDown(member)) {
            flight.fail(refused());
            return;
          }
          if (cluster.state(member) === 'paused') return;
          running.set(process, (running.get(process) ?? new Set()).add(member));
          handle = cluster.watch(member, messages, {
            send(answer) {
              if (!process.isAlive()) handle?.close();
              else
                inOrder(() => {
                  arrived.push(answer);
                  wake();
                });
            },
            end: (error) => inOrder(() => fail(error ?? dropped())),
          });
        });
      }
      try {
        for (;;) {
          for (let answer = arrived.shift(); answer; answer = arrived.shift()) yield answer;
          if (failure) throw (failure as { readonly reason: unknown }).reason;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        close();
      }
    };
  }

  /** A stream of which each message is a request; it ends with its link, and with what is given up. */
  function converse(link: Link, own: Flight[], ask: Channel['call']): Channel['converse'] {
    return (path, headers) => {
      let state: Conversation['state'] = 'free';
      const flight = { fail: () => end() };
      const end = () => {
        state = 'ended';
        remove(link.underWay, flight);
        remove(own, flight);
      };
      link.underWay.push(flight);
      own.push(flight);
      return {
        get state() {
          return state;
        },
        async ask(message, signal = NEVER) {
          state = 'asked';
          try {
            const answer = await ask({ path }, message, headers, signal);
            if (state === 'asked') state = 'free';
            return answer;
          } catch (error) {
            end();
            throw error;
          }
        },
        close: end,
      };
    };
  }

  function drop(link: Link) {
    for (const { fail } of [...link.underWay]) fail(dropped());
  }

  return {
    channel(hostName, process, member) {
      const link = linkOf(hostName, member);
      const own: Flight[] = [];
      const closed = { is: false };
      const ask = call(link, hostName, process, member, own, closed);
      return {
        call: ask,
        converse: converse(link, own, ask),
        stream: stream(link, process, member, own, closed),
        close() {
          closed.is = true;
          for (const { fail } of [...own]) fail(shutDown());
        },
      };
    },
    cut(hostName, member, how) {
      const link = linkOf(hostName, member);
      link.cut = how;
      link.cuts += 1;
      const { cuts } = link;
      if (how === null) {
        const held = link.held;
        link.held = [];
        // At once and in their order, since what is sent from now on takes longer.
        for (const arrive of held) scheduler.after(0, () => pass(link, arrive));
      } else if (how === 'refused') {
        link.held = [];
        drop(link);
      } else {
        scheduler.after(DEAD_AFTER_MS, () => {
          if (link.cuts !== cuts) return;
          link.held = [];
          drop(link);
        });
      }
    },
    setLoss(hostName, member, loss) {
      linkOf(hostName, member).loss = loss;
    },
    hangUp(member) {
      for (const ofHost of links.values()) drop(ofHost[member] as Link);
    },
    linksOf,
    requestsOf: (hostName) => countOf(sent, hostName),
    underWay: (process) => counts.get(process)?.number ?? 0,
    watching: (process) => [...(running.get(process) ?? [])],
  };
}

const NEVER = new AbortController().signal;

function refused(): RpcError {
  return new RpcError(14, 'connect ECONNREFUSED', false, undefined);
}

function shutDown(): RpcError {
  return new RpcError(1, 'Channel has been shut down', false, undefined);
}

function dropped(): RpcError {
  return new RpcError(14, 'Connection dropped', true, undefined);
}
