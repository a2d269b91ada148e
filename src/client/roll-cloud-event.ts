import type { CertainData, CloudEvent, InstanceData, SyncedData, UncertainData } from '../record/cloud-event.ts';
import type { InstanceEventKind } from '../record/event.ts';
import type { InstanceJson } from '../record/instance-json.ts';
import type { NodeRecord } from '../record/record.ts';

/** What the data of an event holds, by its type. */
export type RollEventData = {
  readonly [Kind in Exclude<InstanceEventKind, 'forgotten'> as `rollcall.instance.${Kind}`]: NodeData;
} & {
  readonly 'rollcall.instance.forgotten': ForgottenData;
  readonly 'rollcall.roll.synced': SyncedData;
  readonly 'rollcall.roll.uncertain': UncertainData;
  readonly 'rollcall.roll.certain': CertainData;
};
export type RollEventType = keyof RollEventData;

/** The node as it is after the event. */
export interface NodeData extends InstanceData {
  readonly record: NodeRecord;
  readonly presence: InstanceJson['presence'];
}

/** The node's last record is no longer kept. */
export interface ForgottenData extends InstanceData {
  readonly record: null;
  readonly presence: null;
}

/** An event as `CloudEvent` has it, told apart by its `type`: `if (event.type === 'rollcall.roll.synced')` narrows `data`. */
export type RollCloudEvent = { readonly [Type in RollEventType]: OfType<Type> }[RollEventType];

type OfType<Type extends RollEventType> = Omit<CloudEvent, 'type' | 'subject' | 'data'> &
  (Type extends `rollcall.instance.${string}` ? { readonly subject: string } : { readonly subject?: never }) & {
    readonly type: Type;
    readonly data: RollEventData[Type];
  };

/** What `watch()` yields: the event, and how far one is once it is handled. */
export type WatchedEvent = RollCloudEvent & {
  /**
   * The revision to pass as `since` next time, once this event is handled: nothing after it is missed, though what was
   * handled last may be told again. null: a snapshot is not complete yet, there is nothing to go on from.
   */
  readonly cursor: string | null;
};
