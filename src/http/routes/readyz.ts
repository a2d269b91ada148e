import type { AgentReport } from '../agent-report.ts';
import { problem } from '../problem.ts';
import { type Handler, jsonReply } from '../reply.ts';

/** Readiness: this node is on the roll, and its lease is believed good. */
export function readyz(report: () => AgentReport): Handler {
  return ({ path }) => {
    const { state, believedGood, reason, lastError } = report().lease;
    if (state === 'held' && believedGood) return jsonReply({ status: 'ready' });
    const detail = lastError === null || reason.includes(lastError) ? reason : `${reason}: ${lastError}`;
    return problem(503, detail, { instance: path, extension: { leaseState: state } });
  };
}
