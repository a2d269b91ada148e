/** The public API of `rollcall/client/http`: the roll as an agent has it, by `fetch` alone. */

export type { FleetStatus } from '../audit/fleet-answer.ts';
export { DeadlineError } from '../lib/deadline.ts';
export { RollcallError, UsageError } from '../lib/errors.ts';
export type { EventKind, Uncertainty } from '../record/events.ts';
export type { HealthStatus, NodeRecord } from '../record/record.ts';
export type { InstanceJson, PresenceState, SkippedKey } from '../record/roll.ts';
export { FutureRevisionError } from '../registry/event-source.ts';
export type { HttpClient, HttpOptions, OneInstance } from './connect-http.ts';
export { connectHttp as connect } from './connect-http.ts';
export type {
  CallOptions,
  FilterOptions,
  ListOptions,
  RollCloudEvent,
  RollcallClient,
  RollEventType,
  RollList,
  RollWatch,
  WatchedEvent,
  WatchOptions,
} from './types.ts';
export { AgentError } from './types.ts';
export { applyEvent } from './watch.ts';
