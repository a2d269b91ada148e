import {
  type Desired,
  departureCause,
  initialPublisherState,
  type PublisherState,
} from '../../src/agent/publisher/publisher-plan.ts';
import { runPublisher } from '../../src/agent/publisher/publisher-run.ts';
import { createCell } from '../../src/lib/cell.ts';
import { decodeRecord, encodeRecord } from '../../src/record/codec.ts';
import type { DepartureCause, NodeRecord } from '../../src/record/record.ts';
import { holdLosses } from '../../src/registry/hold.ts';
import { createRegistry, type Registry } from '../../src/registry/registry.ts';
import { openEtcdKv } from '../../src/store/etcd/etcd-kv.ts';
import { createRollStore } from '../../src/store/roll-store.ts';
import type { Store } from '../../src/store/store.ts';
import { sampleRecord } from '../support/sample-record.ts';
import type { Host, Process } from './host.ts';
import type { Network } from './network.ts';

export const PREFIX = '/rollcall';
export const RETENTION_MS = 86_400_000;

/** What an agent's process is made of; a mutation puts another part in the place of one. */
export interface Parts {
  readonly runPublisher: typeof runPublisher;
  readonly createRegistry: typeof createRegistry;
  readonly createRollStore: typeof createRollStore;
  readonly openEtcdKv: typeof openEtcdKv;
  readonly holdLosses: typeof holdLosses;
}

export const REAL_PARTS: Parts = { runPublisher, createRegistry, createRollStore, openEtcdKv, holdLosses };

/** One agent's process: publisher and registry over a store of its own, as `rollcall agent` has them. */
export interface Agent {
  readonly session: string;
  readonly instanceId: string;
  readonly host: Host;
  readonly process: Process;
  readonly store: Store;
  readonly registry: Registry;
  readonly startedAtMs: number;
  state(): PublisherState;
  /** As one that reads it from the store has it. */
  record(): NodeRecord;
  /** When it last changed. */
  changedAtMs(): number;
  /** Publishes a change of its record, once its host moves. */
  change(change: Partial<NodeRecord>): void;
  /** It deregisters and ends, once its host moves. */
  leave(restarting: boolean): void;
  isLeaving(): boolean;
  /** The cause of its departure at the time of `leave`; null: it does not leave. */
  causeToLeave(): DepartureCause | null;
  /** Null: its process runs, or was killed. */
  end(): AgentEnd | null;
}

export type AgentEnd =
  | { readonly kind: 'ended'; readonly state: PublisherState }
  | { readonly kind: 'broken'; readonly error: unknown };

export interface AgentOptions extends StoreOptions {
  readonly instanceId: string;
  readonly session: string;
  readonly ttlMs: number;
  readonly address: string;
  readonly nowMs: () => number;
  readonly onEnd: (agent: Agent) => void;
}

export function startAgent(options: AgentOptions): Agent {
  const { parts, host, random, instanceId, session, ttlMs, nowMs } = options;
  const process = host.start();
  const { clock } = process;
  const store = openStore(options, process);
  const registry = openRegistry(options, store, process);
  const leaving = createCell(false);
  let restarting = false;
  let causeToLeave: DepartureCause | null = null;
  let changedAtMs = nowMs();
  let state = initialPublisherState(ttlMs);
  let end: AgentEnd | null = null;
  let record = asRead(
    sampleRecord({
      ec2InstanceId: instanceId,
      privateIpAddress: options.address,
      registeredAt: new Date(clock.wallMs()).toISOString(),
      sidecar: { version: 'simulated', session },
    }),
  );
  const desiredOf = (): Desired => ({ record, json: encodeRecord(record) });
  const desired = createCell<Desired | null>(desiredOf());
  const agent: Agent = {
    session,
    instanceId,
    host,
    process,
    store,
    registry,
    startedAtMs: nowMs(),
    state: () => state,
    record: () => record,
    changedAtMs: () => changedAtMs,
    change: (change) =>
      process.deliver(() => {
        record = asRead({ ...record, ...change });
        changedAtMs = nowMs();
        desired.set(desiredOf());
      }),
    leave: (again) =>
      process.deliver(() => {
        restarting = again;
        causeToLeave ??= departureCause(record, again, clock.wallMs());
        leaving.set(true);
      }),
    isLeaving: () => leaving.get(),
    causeToLeave: () => causeToLeave,
    end: () => end,
  };
  const finish = (ended: AgentEnd) => {
    if (!process.isAlive()) return;
    end = ended;
    registry.close().catch(() => {});
    store.close().catch(() => {});
    process.kill();
    options.onEnd(agent);
  };
  const published = parts.runPublisher(
    {
      store,
      clock,
      random,
      session,
      ttlMs,
      retentionMs: RETENTION_MS,
      desired,
      leaving,
      // As the agent's node state does: what the last record says of another session is not kept here.
      onLastRecord: () => {},
      restarting: () => restarting,
      onStep: (_, next) => {
        state = next;
      },
    },
    new AbortController().signal,
  );
  published.then(
    (last) => finish({ kind: 'ended', state: last }),
    (error: unknown) => finish({ kind: 'broken', error }),
  );
  return agent;
}

function asRead(record: NodeRecord): NodeRecord {
  const decoded = decodeRecord(record.ec2InstanceId, encodeRecord(record));
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded.value;
}

/** What each process opens for itself. */
export interface StoreOptions {
  readonly parts: Parts;
  readonly network: Network;
  readonly host: Host;
  readonly random: () => number;
  readonly members: number;
}

export function openStore({ parts, network, host, random, members }: StoreOptions, process: Process): Store {
  const endpoints = Array.from({ length: members }, (_, index) => `http://member-${index}`);
  return parts.createRollStore(
    parts.openEtcdKv(
      { kind: 'etcd', label: 'etcd://simulated', endpoints, prefix: PREFIX, tls: null, credentials: null },
      {
        clock: process.clock,
        random,
        openChannel: (url) => network.channel(host.name, process, Number(url.split('-').at(-1))),
      },
    ),
  );
}

/** The read side, as `rollcall watch` and every agent have it. */
export function openRegistry(options: StoreOptions, store: Store, process: Process): Registry {
  return options.parts.createRegistry({ store, clock: process.clock, random: options.random });
}
