import type { Auditor } from '../../audit/fleet-audit/auditor.ts';
import type { StoreStatus } from '../../audit/fleet-status.ts';
import type { Clock } from '../../lib/clock.ts';
import { DeadlineError } from '../../lib/deadline.ts';
import { describeError } from '../../lib/errors.ts';
import type { Registry } from '../../registry/registry.ts';
import { StoreError } from '../../store/store-errors.ts';
import type { AgentReport } from '../agent-report.ts';
import { boardPage } from '../board/page.ts';
import { plainTable } from '../board/plain.ts';
import { createRollTag, entityTag } from '../entity-tag.ts';
import { type Handler, jsonReply, problem, type Routes } from '../reply.ts';
import { createRollLists } from '../roll-lists.ts';
import { events } from './event-stream.ts';
import { metrics } from './metrics.ts';
import { nodeEvents } from './node-events.ts';
import { containerInstance, containerInstances, status, targets, unavailable } from './roll-routes.ts';

interface AgentRouteDeps {
  /** Called once per request. */
  readonly report: () => AgentReport;
  readonly registry: Registry;
  /** Resident memory of the process. */
  readonly residentBytes: () => number;
  readonly clock: Pick<Clock, 'wallMs'>;
  readonly random: () => number;
  /** Default null: this agent takes no part in the continuous audit. */
  readonly auditor?: Pick<Auditor, 'status' | 'read'> | null;
  /** What the store says beside the roll. Never rejects but with the reason of its signal. */
  readonly storeStatus: (signal: AbortSignal) => Promise<StoreStatus>;
  /** What `/v1/status` is to say of this agent, one line each; default none. */
  readonly notes?: readonly string[];
  /** Path of the built page of the board; default null: this build has none. */
  readonly boardFile?: string | null;
}

/** All paths of the agent's HTTP port. */
export function agentRoutes(deps: AgentRouteDeps): Routes {
  const {
    report,
    registry,
    residentBytes,
    clock,
    random,
    auditor = null,
    storeStatus,
    boardFile = null,
    notes = [],
  } = deps;
  const rollTag = createRollTag(() => report().session);
  const [lists, targetLists] = [createRollLists(), createRollLists()];
  const routes: Routes = {
    '/': boardPage(
      boardFile,
      indexPage(
        () => report().version,
        () => Object.keys(routes),
      ),
    ),
    '/plain': plainTable(registry),
    '/healthz': healthz(report),
    '/readyz': readyz(report),
    '/v1/self': self(report, registry),
    '/v1/status': status(registry, storeStatus, notes),
    '/v1/containerInstances': containerInstances(registry, rollTag, lists),
    '/v1/containerInstances/:id': containerInstance(registry),
    '/v1/containerInstances/:id/events': nodeEvents(registry),
    '/v1/events': events({ feed: registry, clock, random }),
    '/v1/targets': targets(registry, rollTag, targetLists),
    '/v1/audit': audit(auditor),
    '/openapi.json': contract(() => report().version),
    '/metrics': metrics(report, registry, residentBytes, auditor),
  };
  return routes;
}

/** Liveness: the agent's own loops make progress. A store outage does not fail it, because a restart would not help. */
function healthz(report: () => AgentReport): Handler {
  return ({ path }) => {
    const stuck = report().loops.filter((loop) => loop.ageMs > loop.limitMs);
    if (stuck.length === 0) return jsonReply({ status: 'ok' });
    const loops = stuck.map(({ name, ageMs, limitMs }) => ({ name, ageMs: Math.round(ageMs), limitMs }));
    const detail = loops.map(
      ({ name, ageMs, limitMs }) => `loop ${name} made no step for ${ageMs} ms, its limit is ${limitMs} ms`,
    );
    return problem(503, detail.join('; '), { instance: path, extension: { loops } });
  };
}

/** The contract of this port. It is made when it is first asked for: an agent that is not asked keeps none. */
function contract(version: () => string): Handler {
  return async () => {
    const { openApiDocument } = await import('../contract/openapi.ts');
    const reply = jsonReply(openApiDocument(version()));
    return { ...reply, etag: entityTag(reply.body) };
  };
}

/** A list of the paths, as text. */
function indexPage(version: () => string, paths: () => readonly string[]): Handler {
  return () => {
    const body = [`rollcall ${version()}`, '', ...paths(), ''].join('\n');
    return { status: 200, contentType: 'text/plain; charset=utf-8', body };
  };
}

/** Readiness: this node is registered, and its lease is believed good. */
function readyz(report: () => AgentReport): Handler {
  return ({ path }) => {
    const { state, believedGood, reason, lastError } = report().lease;
    if (state === 'held' && believedGood) return jsonReply({ status: 'ready' });
    const detail = lastError === null || reason.includes(lastError) ? reason : `${reason}: ${lastError}`;
    return problem(503, detail, { instance: path, extension: { leaseState: state } });
  };
}

/** The state of the agent, also in a store outage. Fields are listed, because the JSON is a contract and `AgentReport` is not. */
export function self(report: () => AgentReport, registry: Pick<Registry, 'status'>): Handler {
  return () => {
    const { version, session, startedAt, record, lease, checks, interruption, sources, loops, drain, ecsAttributes } =
      report();
    const { watching, ageMs, stale, nodes, uncertainty, uncertainLosses, eventReaders, lastError } = registry.status();
    return jsonReply({
      version,
      session,
      startedAt,
      record,
      lease: {
        store: lease.store,
        state: lease.state,
        reason: lease.reason,
        believedGood: lease.believedGood,
        ttlMs: lease.ttlMs,
        lastBeatAgeMs: wholeMs(lease.lastBeatAgeMs),
        lastError: lease.lastError,
        counts: lease.counts,
      },
      checks: checks.map(({ name, status, reason, since, published, ageMs, lastDurationMs, looks, failures }) => ({
        name,
        status,
        reason,
        since,
        published,
        ageMs: wholeMs(ageMs),
        lastDurationMs: wholeMs(lastDurationMs),
        looks,
        failures,
      })),
      interruption,
      sources: sources.map(({ name, ageMs, lastError, lastDurationMs, reads, failures }) => ({
        name,
        ageMs: wholeMs(ageMs),
        lastError,
        lastDurationMs: wholeMs(lastDurationMs),
        reads,
        failures,
      })),
      drain: drain && { state: drain.state, reason: drain.reason, since: drain.since },
      ecsAttributes: ecsAttributes && {
        state: ecsAttributes.state,
        reason: ecsAttributes.reason,
        lastWrite: ecsAttributes.lastWrite,
      },
      loops: loops.map(({ name, ageMs, limitMs }) => ({ name, ageMs: wholeMs(ageMs), limitMs })),
      roll: {
        watching,
        ageMs: wholeMs(ageMs),
        stale,
        nodes,
        uncertainty,
        heldLosses: uncertainLosses,
        eventReaders,
        lastError,
      },
    });
  };
}

function wholeMs(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms);
}

const AUDIT_OFF =
  'this agent takes no part in the continuous audit; start it with --audit-interval 5m (ROLLCALL_AUDIT_INTERVAL)';

/** The last result of the continuous audit in the store, whichever agent wrote it, with its age and whether it is stale. */
function audit(auditor: Pick<Auditor, 'status' | 'read'> | null): Handler {
  return async ({ path, signal }) => {
    if (!auditor) return problem(404, AUDIT_OFF, { instance: path });
    try {
      const { revision, summary, report, unreadable } = await auditor.read(signal);
      const { leader, ageMs, stale, staleReason, broken } = auditor.status();
      if (!summary?.result || !report) {
        const detail =
          unreadable === null
            ? (staleReason ?? 'no audit has succeeded yet')
            : `the result cannot be read: ${unreadable}`;
        return unavailable(detail, path);
      }
      const { result, lastRun, intervalMs } = summary;
      return jsonReply({
        report,
        by: result.by,
        ageMs: ageMs === null ? null : Math.round(ageMs),
        stale,
        staleReason,
        revision,
        intervalMs,
        lastRun,
        leader,
        broken,
      });
    } catch (error) {
      if (!(error instanceof StoreError || error instanceof DeadlineError)) throw error;
      const { summary, ageMs } = auditor.status();
      const known = summary?.result ? { lastKnown: { ...summary.result, ageMs: Math.round(ageMs ?? 0) } } : {};
      const headers = { 'Retry-After': '5' };
      return problem(503, describeError(error), { instance: path, headers, extension: known });
    }
  };
}
