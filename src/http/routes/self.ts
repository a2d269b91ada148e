import type { Registry } from '../../registry/registry.ts';
import type { AgentReport } from '../agent-report.ts';
import { type Handler, jsonReply } from '../reply.ts';

/** This node as its agent sees it, whether the store answers or not. Field by field: the JSON is a contract, the report is not. */
export function self(report: () => AgentReport, registry: Pick<Registry, 'status'>): Handler {
  return () => {
    const { version, session, startedAt, record, lease, checks, interruption, sources, loops, drain, ecsAttributes } =
      report();
    const { watching, ageMs, nodes, uncertainty, heldLosses, eventReaders, lastError } = registry.status();
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
      roll: { watching, ageMs: wholeMs(ageMs), nodes, uncertainty, heldLosses, eventReaders, lastError },
    });
  };
}

function wholeMs(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms);
}
