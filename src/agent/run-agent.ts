import type { Logger } from 'pino';
import type { AgentConfig } from '../config/agent-config.ts';
import { describeError, SupersededError } from '../errors.ts';
import type { AgentReport } from '../http/agent-report.ts';
import { agentRoutes } from '../http/agent-routes.ts';
import { startHttpServer } from '../http/server.ts';
import { createLoopMonitor } from '../lifecycle/loop-monitor.ts';
import { residentBytes } from '../lifecycle/resident-bytes.ts';
import { runGroup } from '../lifecycle/run-group.ts';
import { type NotifyChannel, runNotifier } from '../lifecycle/run-notifier.ts';
import { runPublisher } from '../publisher/publisher.ts';
import { type Desired, initialPublisherState, type PublisherState } from '../publisher/publisher-state.ts';
import type { Step } from '../publisher/step.ts';
import { encodeRecord } from '../record/codec.ts';
import { createRegistry } from '../registry/registry.ts';
import { readMachineId } from '../sources/read-machine-id.ts';
import { type Cell, createCell } from '../timing/cell.ts';
import type { Clock } from '../timing/clock.ts';
import { unlessAborted } from '../timing/unless-aborted.ts';
import type { AgentDependencies } from './agent-dependencies.ts';
import { buildReport } from './build-report.ts';
import { createEcsWork } from './ecs-work.ts';
import { observeNode } from './observe-node.ts';
import { createPublishLog } from './publish-log.ts';
import { standingAudit } from './standing-audit.ts';
import { createStoreCheck } from './store-check.ts';

/** A departure that the store has not taken by then is given up: with the HTTP port's closing it stays under 3 s. */
const DEPARTURE_LIMIT_MS = 2_000;

/** While it watches, the registry moves at least every 35 s. */
const REGISTRY_LIMIT_MS = 65_000;

/**
 * The whole agent: answers HTTP, watches its node and publishes it, until it has departed.
 * @param signal ends it at once, without a goodbye
 * @throws SupersededError when another session took the seat; RollcallError when the port cannot be had
 */
export async function runAgent(config: AgentConfig, deps: AgentDependencies, signal: AbortSignal): Promise<void> {
  const { store, clock, random, log, leaving } = deps;
  const identity = {
    machineId: await machineIdOrNull(config.machineIdFile, log),
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
    // EC2 announces nothing to a host of another house.
    noticesKnown: () =>
      config.identity.kind === 'external' ||
      node.sources().some(({ name, lastSuccessAtMs }) => name === 'notices' && lastSuccessAtMs !== null),
  });
  let publisher: PublisherState = initialPublisherState(config.presenceTtlMs);
  let step: Step = { action: 'wait', untilMs: 0, reason: 'starting' };

  const report = (): AgentReport =>
    buildReport({
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
  const registry = createRegistry({ store, clock, random, massLoss: config.massLoss, onStep: registryStep });
  const auditor = config.audit && standingAudit(config.audit, config, deps, monitor, () => desired.get());
  const routes = agentRoutes({ report, registry, residentBytes, clock, random, auditor });
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
          if (left.phase === 'departed') await unlessAborted(ecsWork.saidGoodbye, groupSignal);
          return left;
        },
        (groupSignal) => giveUpDeparture(leaving, clock, groupSignal),
        ...(deps.notify ? [notifying(deps.notify)] : []),
        ...(auditor ? [auditor.loop] : []),
      ],
      signal,
    );
    if (last === null && publisher.hold && publisher.phase !== 'departed') {
      log.warn(`could not say goodbye within ${DEPARTURE_LIMIT_MS} ms: readers see this node as lost`);
    }
    if (last?.phase === 'superseded' && !leaving.get()) {
      throw new SupersededError(
        `session ${last.supersededBy} took the seat of this node; this agent ends for good: one agent a node is enough`,
      );
    }
  } finally {
    await Promise.all([server.close(), registry.close(), node.close(), ecsWork.close()]);
  }
}

/** A node without a readable machine id is still a node. */
async function machineIdOrNull(path: string, log: Logger): Promise<string | null> {
  try {
    return await readMachineId(path);
  } catch (error) {
    log.warn(describeError(error));
    return null;
  }
}

/** Resolves when the agent has been leaving for too long. */
async function giveUpDeparture(leaving: Cell<boolean>, clock: Clock, signal: AbortSignal): Promise<null> {
  await new Promise<void>((resolve, reject) => {
    if (leaving.get()) resolve();
    leaving.onChange(resolve);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  await clock.sleep(DEPARTURE_LIMIT_MS, signal);
  return null;
}
