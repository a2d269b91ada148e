import type { EventKind } from '../record/event.ts';
import type { RollCloudEvent } from './roll-cloud-event.ts';
import type { RollList } from './rollcall-client.ts';

/**
 * Where a client reads from: a store of its own, or an agent that reads for it. An aborted signal ends every call, with
 * whatever error; it is `createClient` that tells the caller the reason.
 */
export interface RollSource {
  /** For people. */
  readonly label: string;
  /** @param query as `/v1/containerInstances` takes it */
  list(query: URLSearchParams, signal: AbortSignal): Promise<RollList>;
  /** Events until the connection breaks: then it throws, or ends. Leaving the loop frees what it holds. */
  stream(request: StreamRequest, signal: AbortSignal): AsyncIterable<CloudBatch>;
  close(): Promise<void>;
}

export interface StreamRequest {
  /** null: begin with a snapshot. */
  readonly since: string | null;
  /** null: all, as the next. */
  readonly cluster: readonly string[] | null;
  readonly kinds: readonly EventKind[] | null;
}

export interface CloudBatch {
  readonly events: readonly RollCloudEvent[];
  /** Whoever has handled the batch may resume after it; null: a snapshot is not complete; left out: as far as before. */
  readonly cursor?: string | null;
}
