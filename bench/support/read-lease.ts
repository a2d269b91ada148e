import * as v from 'valibot';
import type { LeaseCounts } from '../../src/http/agent-report.ts';

const selfSchema = v.object({
  lease: v.object({
    state: v.string(),
    counts: v.object({
      registrations: v.number(),
      losses: v.number(),
      beats: v.number(),
      failedBeats: v.number(),
      recordWrites: v.number(),
      storeErrors: v.number(),
    }),
  }),
});

/** What an agent says of its lease at `/v1/self`. */
export async function readLease(
  agentUrl: string,
  signal: AbortSignal,
): Promise<{ readonly state: string; readonly counts: LeaseCounts }> {
  const answer = await fetch(`${agentUrl}/v1/self`, { signal });
  return v.parse(selfSchema, await answer.json()).lease;
}
