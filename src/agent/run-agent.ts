import { type Auditor, createAuditor } from '../audit/fleet-audit/auditor.ts';
import { type Audit, type AuditConfig, fleetAudit } from '../audit/fleet-audit/fleet.ts';
import type { AuditorOptions } from '../audit/fleet-audit/fleet-audit-run.ts';
import { createAuditLog } from '../audit/fleet-audit/status.ts';
import { sharedStoreStatus } from '../audit/fleet-status.ts';
import type { Observation } from '../checks/check.ts';
import type { Probe } from '../checks/probe.ts';
import type { EcsApi, EcsSettings } from '../ecs/ecs-api.ts';
import { sayUnexpected } from '../ecs/list-instances.ts';
import { describeOpenPort, openAccess } from '../http/access.ts';
import type { AgentReport } from '../http/agent-report.ts';
import { agentRoutes } from '../http/routes/agent-routes.ts';
import { startHttpServer } from '../http/server.ts';
import { abortable } from '../lib/abort.ts';
import { type Cell, createCell } from '../lib/cell.ts';
import type { Clock } from '../lib/clock.ts';
import { describeError, SupersededError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { createLoopMonitor, type LoopMonitor, runGroup, type Task } from '../lib/run-group.ts';
import { encodeRecord, readRecord, refusedFields } from '../record/codec.ts';
import type { NodeRecord } from '../record/record.ts';
import type { WatchDown } from '../registry/follower.ts';
import { createRegistry, type Registry } from '../registry/registry.ts';
import { readMachineId } from '../sources/machine-id.ts';
import type { Store } from '../store/store.ts';
import type { AgentConfig } from './agent-config.ts';
import { createEcsWork } from './ecs-work.ts';
import type { NodeIdentity } from './node-state.ts';
import { observeNode } from './observe-node.ts';
import { type Desired, initialPublisherState, type PublisherState, type Step } from './publisher/publisher-plan.ts';
import { createPublishLog, runPublisher, untilLeaving } from './publisher/publisher-run.ts';
import { buildAgentReport, createStoreCheck, describeWatchDown, type StoreCheck } from './report.ts';
import { serveHttp } from './serve-http.ts';
import { type NotifyChannel, runNotifier } from './systemd.ts';

/** What an agent works with. The caller opens and closes it. */
interface AgentDependencies {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
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
  /** Path of the built page of the fleet board. Default: this build has none. */
  readonly boardFile?: string | null;
  /** Called with each record that is to be published. */
  readonly onInstanceId?: (instanceId: string) => void;
}

/** Deregistration is given up after this; with the closing of the HTTP port the agent ends within 3 s. */
const DEPARTURE_LIMIT_MS = 2_000;

/** While it watches, the registry makes a step at least every 35 s. */
const REGISTRY_LIMIT_MS = 65_000;

/**
 * The whole agent: answers HTTP, observes its node and publishes the record, until it has deregistered.
 * @param signal ends it at once, without a deregistration
 * @throws SupersededError when another session registered this node; RollcallError when a program listens on the port, or
 * there is no such address
 */
export async function runAgent(config: AgentConfig, deps: AgentDependencies, signal: AbortSignal): Promise<void> {
  const { clock, random, log, leaving } = deps;
  if (leaving.get()) return;
  const identity = await readNodeIdentity(config, deps);
  const parts = openParts(config, deps, identity);
  const { node, ecsWork, registry, auditor, publishing } = parts;
  const report = () => currentReport(config, deps, identity, parts);
  const storeStatus = sharedStoreStatus(deps.store, clock);
  const { residentBytes, boardFile = null } = deps;
  const openTo = describeOpenPort(config.listen, config.access);
  const routes = agentRoutes({
    ...{ report, registry, residentBytes, clock, random, auditor, storeStatus, boardFile },
    notes: openTo === null ? [] : [openTo],
  });
  const onError = (error: unknown) => log.error(`answering a request failed: ${describeError(error)}`);
  const onAccessError = (error: unknown) => log.error(`${describeError(error)}; what was read before stays`);
  const serving = await serveHttp({
    ...{ listen: config.listen, clock, log },
    async start() {
      // Each try reads the files anew: they may have changed while the agent waited for its port.
      const access = await openAccess(config.access, clock);
      return startHttpServer({ listen: config.listen, routes, clock, onError, onAccessError, access });
    },
    onServing({ url }) {
      if (openTo) log.warn(openTo);
      log.info({ url, store: deps.store.label }, `rollcall ${deps.version} answers on ${url}`);
    },
  });
  try {
    const tasks: Task<PublisherState | null>[] = [
      ...node.loops,
      ...ecsWork.loops,
      async (groupSignal) => {
        const left = await publishing.loop(groupSignal);
        // The end of this loop ends the agent, so it waits for what else a departure writes.
        if (left.phase === 'departed') await abortable(ecsWork.deregistered, groupSignal);
        return left;
      },
      (groupSignal) => giveUpDeparture(leaving, clock, groupSignal),
      serving.loop,
      ...(deps.notify ? [notifySystemd(deps, deps.notify, report, serving.trouble)] : []),
      ...(auditor ? [auditor.loop] : []),
    ];
    sayHowItEnded(await runGroup(tasks, signal), publishing.state(), deps);
  } finally {
    await Promise.all([serving.close(), registry.close(), node.close(), ecsWork.close()]);
  }
}

async function readNodeIdentity(
  config: AgentConfig,
  { clock, log, ...deps }: AgentDependencies,
): Promise<NodeIdentity> {
  return {
    machineId: await machineIdIfReadable(config.machineIdFile, log),
    cluster: config.cluster,
    labels: config.labels,
    version: deps.version,
    session: deps.session,
    startedAt: new Date(clock.wallMs()).toISOString(),
  };
}

/** What one agent process consists of. Nothing runs yet. */
function openParts(config: AgentConfig, deps: AgentDependencies, identity: NodeIdentity) {
  const { store, clock, random, log, leaving, session } = deps;
  const monitor = createLoopMonitor(clock);
  // The record that is to be published; null until the first one is complete.
  const desired = createCell<Desired | null>(null);
  const tellRefused = refusedLog(log);
  const node = observeNode(config, { clock, random, log, monitor, identity, probes: deps.probes }, (record) => {
    const json = encodeRecord(record);
    if (json === desired.get()?.json) return;
    deps.onInstanceId?.(record.ec2InstanceId);
    desired.set({ record, json });
    tellRefused(record);
  });
  const ecsWork = createEcsWork(config, {
    ...{ clock, random, log, desired, leaving, session, slots: store.drainSlots, openEcs: deps.openEcs },
    // A host outside EC2 gets no notices from EC2.
    noticesKnown: () =>
      config.identity.kind === 'external' ||
      node.sources().some(({ name, lastSuccessAtMs }) => name === 'notices' && lastSuccessAtMs !== null),
  });
  const storeCheck = createStoreCheck(clock, config.checks);
  const publishing = createPublishing(config, deps, monitor, desired, storeCheck, node.recall);
  const registry = openRegistry(config, deps, monitor, storeCheck);
  const auditor =
    config.audit && continuousAudit(config.audit, config, deps, monitor, () => desired.get(), node.observeConnection);
  return { monitor, desired, node, ecsWork, storeCheck, publishing, registry, auditor };
}

type AgentParts = ReturnType<typeof openParts>;

/** Says once what the record that is written lacks, such as a label that is no word of a list. */
function refusedLog(log: Log): (record: NodeRecord) => void {
  let told = '';
  return (record) => {
    const refused = refusedFields(readRecord(record)).join(', ');
    if (refused !== '' && refused !== told) log.warn(`left out of the record, since lists cannot show it: ${refused}`);
    told = refused;
  };
}

/** The publisher's loop, with its newest state and step. */
function createPublishing(
  config: AgentConfig,
  deps: AgentDependencies,
  monitor: LoopMonitor,
  desired: Cell<Desired | null>,
  storeCheck: StoreCheck,
  onLastRecord: (record: NodeRecord | null) => void,
) {
  const { store, clock, random, session, leaving, restarting } = deps;
  const onProgress = monitor.track('publisher', config.presenceTtlMs + 30_000);
  const publishLog = createPublishLog(deps.log);
  let state = initialPublisherState(config.presenceTtlMs);
  let step: Step = { action: 'wait', untilMs: 0, reason: 'starting' };
  const onStep = (nextStep: Step, nextState: PublisherState) => {
    step = nextStep;
    state = nextState;
    onProgress();
    storeCheck.onStep(nextStep, nextState);
    publishLog(nextStep, nextState);
  };
  const times = { ttlMs: config.presenceTtlMs, retentionMs: config.retentionMs };
  const options = { store, clock, random, session, ...times, desired, leaving, restarting, onLastRecord, onStep };
  return {
    state: () => state,
    step: () => step,
    loop: (signal: AbortSignal) => runPublisher(options, signal),
  };
}

/** The roll, for the routes of HTTP. */
function openRegistry(
  { massLoss }: AgentConfig,
  { store, clock, random, log }: AgentDependencies,
  monitor: LoopMonitor,
  storeCheck: StoreCheck,
): Registry {
  const onStep = monitor.track('registry', REGISTRY_LIMIT_MS, () => registry.status().watching);
  const onWatch = (down: WatchDown | null) => {
    storeCheck.onWatch(down);
    if (down === null) log.info('the watch of the roll is up again, or no longer needed');
    else log.warn(describeWatchDown(down));
  };
  const registry = createRegistry({ store, clock, random, massLoss, onStep, onWatch });
  return registry;
}

/** This agent's part in the continuous audit of the fleet. */
function continuousAudit(
  { intervalMs, clusters, limits }: AuditConfig,
  { presenceTtlMs, ecs, massLoss }: AgentConfig,
  deps: AgentDependencies,
  monitor: LoopMonitor,
  desired: () => Desired | null,
  onConnection: (seen: Observation | null) => void,
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
        {
          ...{ store, clock, openEcs: (requestsPerSecond) => deps.openEcs({ ...ecs, requestsPerSecond }) },
          onUnexpected: sayUnexpected((line) => deps.log.warn(`continuous audit: ${line}`)),
        },
        { clusters, intervalMs },
        massLoss,
      ),
    clock,
    random,
    session,
    instanceId: () => desired()?.record.ec2InstanceId ?? null,
    ttlMs: presenceTtlMs,
    intervalMs,
    limits,
    leaving,
    onStep(step, state) {
      auditStep();
      auditLog(step, state);
    },
    onPollFailed: (reason) => deps.log.error(`continuous audit: connections: ${reason}; starting over`),
  };
  const onBroken = (reason: string) => deps.log.error(`continuous audit: ${reason}`);
  const auditor = createAuditor(options, onBroken, { record: () => desired()?.record ?? null, onConnection });
  return auditor;
}

function currentReport(
  { presenceTtlMs }: AgentConfig,
  { store, clock }: AgentDependencies,
  identity: NodeIdentity,
  { monitor, desired, node, ecsWork, storeCheck, publishing }: AgentParts,
): AgentReport {
  return buildAgentReport({
    identity,
    storeLabel: store.label,
    ttlMs: presenceTtlMs,
    record: desired.get()?.record ?? null,
    checks: node.checks(),
    storeCheck: storeCheck.watched(),
    interruption: node.interruption(),
    publisher: publishing.state(),
    step: publishing.step(),
    sources: node.sources(),
    drain: ecsWork.drain(),
    ecsAttributes: ecsWork.attributes(),
    loops: monitor.ages(),
    nowMs: clock.monotonicMs(),
  });
}

function notifySystemd(
  { clock, leaving, log }: AgentDependencies,
  channel: NotifyChannel,
  report: () => AgentReport,
  httpTrouble: () => string | null,
): Task<null> {
  const onError = (error: unknown) => log.warn(`cannot notify systemd: ${describeError(error)}`);
  return (signal) => runNotifier({ channel, clock, report, httpTrouble, leaving, onError }, signal);
}

/**
 * @param last null: the departure was given up @param state the publisher's newest state
 * @throws SupersededError when another session registered this node
 */
function sayHowItEnded(
  last: PublisherState | null,
  state: PublisherState,
  { leaving, log }: Pick<AgentDependencies, 'leaving' | 'log'>,
): void {
  if (last === null && state.hold && state.phase !== 'departed') {
    // It may be done: its answer may be lost, or it goes on to end what may come late.
    log.warn(
      `deregistration not confirmed within ${DEPARTURE_LIMIT_MS} ms: readers see this node as lost, if the store did not carry it out`,
    );
  }
  if (last?.phase === 'superseded' && !leaving.get()) {
    throw new SupersededError(
      `session ${last.supersededBy} registered this node; this agent ends: only one agent may run on a node`,
    );
  }
}

/** No machine id (null), or one that cannot be read (undefined), is a warning: the node registers without it. */
async function machineIdIfReadable(path: string, log: Log): Promise<string | null | undefined> {
  try {
    const id = await readMachineId(path);
    if (id === null)
      log.warn(
        `no machine id: ${path} does not exist, or systemd has not filled it yet; it does not change the health`,
      );
    return id;
  } catch (error) {
    log.warn(`${describeError(error)}; it does not change the health`);
    return undefined;
  }
}

/** Resolves `DEPARTURE_LIMIT_MS` after the agent began to leave. */
async function giveUpDeparture(leaving: Cell<boolean>, clock: Clock, signal: AbortSignal): Promise<null> {
  await untilLeaving(leaving, signal);
  await clock.sleep(DEPARTURE_LIMIT_MS, signal);
  return null;
}
