import type { Logger } from 'pino';
import { type Auditor, createAuditor } from '../audit/fleet-audit/auditor.ts';
import { type Audit, type AuditConfig, fleetAudit } from '../audit/fleet-audit/fleet.ts';
import type { AuditorOptions } from '../audit/fleet-audit/fleet-audit-run.ts';
import { createAuditLog } from '../audit/fleet-audit/status.ts';
import type { Probe } from '../checks/probe.ts';
import type { EcsApi, EcsSettings } from '../ecs/ecs-api.ts';
import { openEcsOnce } from '../ecs/open-ecs-api.ts';
import type { AgentReport, AttributesReport, DrainReport } from '../http/agent-report.ts';
import { agentRoutes } from '../http/routes/agent-routes.ts';
import { startHttpServer } from '../http/server.ts';
import { abortable } from '../lib/abort.ts';
import { type Cell, createCell } from '../lib/cell.ts';
import type { Clock } from '../lib/clock.ts';
import { describeError, SupersededError } from '../lib/errors.ts';
import { createLoopMonitor, harmless, type LoopMonitor, runGroup, type Task } from '../lib/run-group.ts';
import { encodeRecord } from '../record/codec.ts';
import { createRegistry } from '../registry/registry.ts';
import { readMachineId } from '../sources/machine-id.ts';
import type { DrainSlots } from '../store/drain-slots.ts';
import type { Store } from '../store/store.ts';
import type { AgentConfig } from './agent-config.ts';
import { runAttributes } from './attributes/attributes-run.ts';
import { runDrain } from './drain/drain-run.ts';
import { observeNode } from './observe-node.ts';
import { type Desired, initialPublisherState, type PublisherState, type Step } from './publisher/publisher-plan.ts';
import { createPublishLog, runPublisher, untilLeaving } from './publisher/publisher-run.ts';
import { attributesReport, buildAgentReport, createStoreCheck, describeWatchDown } from './report.ts';
import { type NotifyChannel, runNotifier } from './systemd.ts';

/** What an agent works with. The caller opens and closes it. */
interface AgentDependencies {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly version: string;
  readonly session: string;
  /** Set to true once, when the agent is to deregister and end. */
  readonly leaving: Cell<boolean>;
  /** Asked once `leaving` is true: whether the agent will be started again. Default: it will not. */
  readonly restarting?: (() => boolean) | undefined;
  /** Probes of docker, disk and the operator's checks. */
  readonly probes: readonly Probe[];
  /** Null: no service manager is notified. */
  readonly notify: NotifyChannel | null;
  /** The audit that the leader runs. Default: the roll of the store against the ECS API. */
  readonly audit?: Audit;
  /** Called only where a flag needs the ECS API. */
  readonly openEcs: (settings: EcsSettings) => Promise<EcsApi>;
  /** Resident memory of the process, shared pages of the runtime included. */
  readonly residentBytes: () => number;
}

interface EcsWorkDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly session: string;
  readonly slots: DrainSlots;
  readonly openEcs: (settings: EcsSettings) => Promise<EcsApi>;
  readonly desired: Cell<Desired | null>;
  readonly leaving: Cell<boolean>;
  readonly noticesKnown: () => boolean;
}

/** What this agent changes in ECS, where flags ask for it. */
interface EcsWork {
  /** No loop ends before `signal` aborts. */
  readonly loops: readonly Task<never>[];
  drain(): DrainReport | null;
  attributes(): AttributesReport | null;
  /** Resolves once ECS has the attributes of a departed node; at once if nothing is written to ECS. */
  readonly deregistered: Promise<void>;
  close(): Promise<void>;
}

export function createEcsWork(config: AgentConfig, deps: EcsWorkDeps): EcsWork {
  const { clock, random, log, desired, leaving } = deps;
  const ecs = openEcsOnce(config.ecs, deps.openEcs);
  const record = () => desired.get()?.record ?? null;
  const deregistered = Promise.withResolvers<void>();
  const loops: Task<never>[] = [];
  // A defect in a loop that writes to ECS must not end the agent.
  const add = (name: string, showReason: (reason: string) => void, loop: Task<unknown>) => {
    const onBroken = (reason: string) => {
      showReason(reason);
      log.error(`${name}: ${reason}`);
    };
    loops.push(harmless(loop, onBroken));
  };
  const nowText = () => new Date(clock.wallMs()).toISOString();
  let drain: DrainReport | null = null;
  let attributes: AttributesReport | null = null;

  if (config.drain) {
    const drainConfig = config.drain;
    drain = { state: 'idle', reason: 'starting', since: nowText() };
    const showDrainReason = (reason: string) => {
      if (drain) drain = { ...drain, reason };
    };
    add('drain', showDrainReason, (signal) =>
      runDrain(
        {
          ...{ config: drainConfig, clock, random, log, session: deps.session, slots: deps.slots, ecs: ecs.forArn },
          ...{ record, noticesKnown: deps.noticesKnown, changes: desired, leaving },
          onStep({ phase, reason }) {
            drain = { state: phase, reason, since: drain?.state === phase ? drain.since : nowText() };
          },
        },
        signal,
      ),
    );
  }
  if (config.ecsAttributes) {
    attributes = { state: 'unknown', reason: 'starting', lastWrite: null };
    const showAttributesReason = (reason: string) => {
      if (attributes) attributes = { ...attributes, state: 'failing', reason };
    };
    add('ECS attributes', showAttributesReason, async (signal) => {
      const onStep = (...now: Parameters<typeof attributesReport>) => {
        attributes = attributesReport(...now);
      };
      const from = { ecs: ecs.forArn, record, changes: [desired], spreadMs: config.presenceTtlMs };
      const options = { clock, random, log, ...from, leaving, onStep };
      try {
        await runAttributes(options, signal);
      } finally {
        deregistered.resolve();
      }
    });
  } else {
    deregistered.resolve();
  }
  return {
    loops,
    drain: () => drain,
    attributes: () => attributes,
    deregistered: deregistered.promise,
    close: ecs.close,
  };
}

/** This agent's part in the continuous audit of the fleet. */
function continuousAudit(
  { intervalMs, clusters }: AuditConfig,
  { presenceTtlMs, ecs }: AgentConfig,
  deps: AgentDependencies,
  monitor: LoopMonitor,
  desired: () => Desired | null,
): Auditor {
  const { store, clock, random, session, leaving } = deps;
  // A broken audit loop is reported with the audit's results: a failing liveness would restart the whole agent for it.
  const auditStep = monitor.track('audit', presenceTtlMs + 30_000, () => auditor.status().broken === null);
  const auditLog = createAuditLog(deps.log);
  const options: AuditorOptions = {
    locks: store.leaderLocks,
    audit:
      deps.audit ??
      fleetAudit(
        { store, clock, openEcs: (requestsPerSecond) => deps.openEcs({ ...ecs, requestsPerSecond }) },
        clusters,
      ),
    clock,
    random,
    session,
    instanceId: () => desired()?.record.ec2InstanceId ?? null,
    ttlMs: presenceTtlMs,
    intervalMs,
    leaving,
    onStep(step, state) {
      auditStep();
      auditLog(step, state);
    },
  };
  const auditor = createAuditor(options, (reason) => deps.log.error(`continuous audit: ${reason}`));
  return auditor;
}

/** Deregistration is given up after this; with the closing of the HTTP port the agent ends within 3 s. */
const DEPARTURE_LIMIT_MS = 2_000;

/** While it watches, the registry makes a step at least every 35 s. */
const REGISTRY_LIMIT_MS = 65_000;

/**
 * The whole agent: answers HTTP, observes its node and publishes the record, until it has deregistered.
 * @param signal ends it at once, without a deregistration
 * @throws SupersededError when another session registered this node; RollcallError when the port is not available
 */
export async function runAgent(config: AgentConfig, deps: AgentDependencies, signal: AbortSignal): Promise<void> {
  const { store, clock, random, log, leaving } = deps;
  if (leaving.get()) return;
  const identity = {
    machineId: await machineIdIfReadable(config.machineIdFile, log),
    cluster: config.cluster,
    labels: config.labels,
    version: deps.version,
    session: deps.session,
    startedAt: new Date(clock.wallMs()).toISOString(),
  };
  const monitor = createLoopMonitor(clock);
  const desired = createCell<Desired | null>(null);
  const node = observeNode(config, { clock, random, log, monitor, identity, probes: deps.probes }, (record) => {
    const json = encodeRecord(record);
    if (json !== desired.get()?.json) desired.set({ record, json });
  });
  const publishStep = monitor.track('publisher', config.presenceTtlMs + 30_000);
  const publishLog = createPublishLog(log);
  const storeCheck = createStoreCheck(clock, config.checks);
  const ecsWork = createEcsWork(config, {
    ...{ clock, random, log, desired, leaving, session: deps.session, slots: store.drainSlots, openEcs: deps.openEcs },
    // A host outside EC2 gets no notices from EC2.
    noticesKnown: () =>
      config.identity.kind === 'external' ||
      node.sources().some(({ name, lastSuccessAtMs }) => name === 'notices' && lastSuccessAtMs !== null),
  });
  let publisher: PublisherState = initialPublisherState(config.presenceTtlMs);
  let step: Step = { action: 'wait', untilMs: 0, reason: 'starting' };

  const report = (): AgentReport =>
    buildAgentReport({
      identity,
      storeLabel: store.label,
      ttlMs: config.presenceTtlMs,
      record: desired.get()?.record ?? null,
      checks: node.checks(),
      storeCheck: storeCheck.watched(),
      interruption: node.interruption(),
      publisher,
      step,
      sources: node.sources(),
      drain: ecsWork.drain(),
      ecsAttributes: ecsWork.attributes(),
      loops: monitor.ages(),
      nowMs: clock.monotonicMs(),
    });

  const watches = (): boolean => registry.status().watching;
  const registryStep = monitor.track('registry', REGISTRY_LIMIT_MS, watches);
  const registry = createRegistry({
    store,
    clock,
    random,
    massLoss: config.massLoss,
    onStep: registryStep,
    onWatch: (down) => {
      storeCheck.onWatch(down);
      if (down === null) log.info('the watch of the roll is up again');
      else log.warn(describeWatchDown(down));
    },
  });
  const auditor = config.audit && continuousAudit(config.audit, config, deps, monitor, () => desired.get());
  const routes = agentRoutes({ report, registry, residentBytes: deps.residentBytes, clock, random, auditor });
  const onError = (error: unknown) => log.error(`answering a request failed: ${describeError(error)}`);
  const server = await startHttpServer({ listen: config.listen, routes, clock, onError });
  const notifying = (channel: NotifyChannel) => {
    const onNotifyError = (error: unknown) => log.warn(`cannot notify systemd: ${describeError(error)}`);
    return (groupSignal: AbortSignal) =>
      runNotifier({ channel, clock, report, leaving, onError: onNotifyError }, groupSignal);
  };
  log.info({ url: server.url, store: store.label }, `rollcall ${deps.version} answers on ${server.url}`);
  try {
    const last = await runGroup<PublisherState | null>(
      [
        ...node.loops,
        ...ecsWork.loops,
        async (groupSignal) => {
          const left = await runPublisher(
            {
              store,
              clock,
              random,
              session: deps.session,
              ttlMs: config.presenceTtlMs,
              retentionMs: config.retentionMs,
              desired,
              leaving,
              onLastRecord: node.recall,
              restarting: deps.restarting,
              onStep(nextStep, state) {
                step = nextStep;
                publisher = state;
                publishStep();
                storeCheck.onStep(nextStep, state);
                publishLog(nextStep, state);
              },
            },
            groupSignal,
          );
          if (left.phase === 'departed') await abortable(ecsWork.deregistered, groupSignal);
          return left;
        },
        (groupSignal) => giveUpDeparture(leaving, clock, groupSignal),
        ...(deps.notify ? [notifying(deps.notify)] : []),
        ...(auditor ? [auditor.loop] : []),
      ],
      signal,
    );
    if (last === null && publisher.hold && publisher.phase !== 'departed') {
      log.warn(`could not deregister within ${DEPARTURE_LIMIT_MS} ms: readers see this node as lost`);
    }
    if (last?.phase === 'superseded' && !leaving.get()) {
      throw new SupersededError(
        `session ${last.supersededBy} registered this node; this agent ends: only one agent may run on a node`,
      );
    }
  } finally {
    await Promise.all([server.close(), registry.close(), node.close(), ecsWork.close()]);
  }
}

/** A machine id that cannot be read (undefined) is a warning: the node registers without it. */
async function machineIdIfReadable(path: string, log: Logger): Promise<string | null | undefined> {
  try {
    return await readMachineId(path);
  } catch (error) {
    log.warn(describeError(error));
    return undefined;
  }
}

/** Resolves `DEPARTURE_LIMIT_MS` after the agent began to leave. */
async function giveUpDeparture(leaving: Cell<boolean>, clock: Clock, signal: AbortSignal): Promise<null> {
  await untilLeaving(leaving, signal);
  await clock.sleep(DEPARTURE_LIMIT_MS, signal);
  return null;
}
