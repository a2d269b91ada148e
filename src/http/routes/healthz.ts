import type { AgentReport } from '../agent-report.ts';
import { problem } from '../problem.ts';
import { type Handler, jsonReply } from '../reply.ts';

/** Liveness: the agent's own loops make progress. A store outage is no reason, for a restart would not mend it. */
export function healthz(report: () => AgentReport): Handler {
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
