/** The package `rollcall/client`: everything a Node program needs to read the roll and follow it. */

export type { MassLossLimits } from '../config/mass-loss-limits.ts';
export { RollcallError, UsageError } from '../errors.ts';
export type {
  CertainData,
  InstanceData,
  SyncedData,
  UncertainData,
} from '../record/cloud-event.ts';
export type { EventKind, Uncertainty } from '../record/event.ts';
export type { InstanceJson } from '../record/instance-json.ts';
export type {
  CheckVerdict,
  Departure,
  DepartureCause,
  Health,
  HealthStatus,
  Interruption,
  NodeRecord,
} from '../record/record.ts';
export type { PresenceState, SkippedKey } from '../record/roll.ts';
export { FutureRevisionError } from '../registry/event-source.ts';
export { StoreError } from '../store/store-error.ts';
export { DeadlineError } from '../timing/with-deadline.ts';
export { AgentError } from './agent-error.ts';
export { applyEvent } from './apply-event.ts';
export { connect } from './connect.ts';
export type { ConnectOptions } from './connect-options.ts';
export type {
  ForgottenData,
  NodeData,
  RollCloudEvent,
  RollEventData,
  RollEventType,
  WatchedEvent,
} from './roll-cloud-event.ts';
export type { ListOptions, RollcallClient, RollList, RollWatch, WatchOptions } from './rollcall-client.ts';
