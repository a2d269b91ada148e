/** The public API of the package `rollcall/client`, to read the roll and follow its events. */

export { DeadlineError } from '../lib/deadline.ts';
export { RollcallError, UsageError } from '../lib/errors.ts';
export type {
  AuditData,
  CertainData,
  InstanceData,
  SyncedData,
  UncertainData,
} from '../record/cloud-event.ts';
export type { EventKind, Uncertainty } from '../record/events.ts';
export type {
  CheckVerdict,
  Departure,
  DepartureCause,
  Health,
  HealthStatus,
  Interruption,
  NodeRecord,
} from '../record/record.ts';
export type { InstanceJson, PresenceState, SkippedKey } from '../record/roll.ts';
export { FutureRevisionError } from '../registry/event-source.ts';
export type { MassLossLimits } from '../registry/mass-loss.ts';
export { StoreError } from '../store/store-errors.ts';
export { connect } from './connect.ts';
export type {
  ConnectOptions,
  FilterOptions,
  ForgottenData,
  ListOptions,
  NodeData,
  RollCloudEvent,
  RollcallClient,
  RollEventData,
  RollEventType,
  RollList,
  RollWatch,
  WatchedEvent,
  WatchOptions,
} from './types.ts';
export { AgentError } from './types.ts';
export { applyEvent } from './watch.ts';
