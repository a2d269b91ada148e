import { printable } from '../../printable.ts';
import { type CloudEvent, eventType } from '../../record/cloud-event.ts';
import type { RollEvent } from '../../record/event.ts';
import { presenceState } from '../../record/roll.ts';

/** The kernel takes 128 kB a variable and refuses to start a program with more. */
const MAX_VALUE = 4_096;

/**
 * The main fields of an event as variables, every one always set: empty where there is nothing to say, so that nothing
 * of the environment we run in shows through. No flag of ours has a variable that begins with ROLLCALL_EVENT_.
 */
export function handlerEnvironment(event: RollEvent, { id }: Pick<CloudEvent, 'id'>): Record<string, string> {
  const about = 'instanceId' in event ? event : null;
  // Whom the store has forgotten is still known by its last record.
  const record = (about?.after ?? about?.before)?.record;
  const values = {
    TYPE: eventType(event.kind),
    ID: id,
    REVISION: event.revision,
    SNAPSHOT: String(about?.snapshot ?? event.kind === 'synced'),
    INSTANCE_ID: about?.instanceId,
    CLUSTER: record?.cluster,
    IP: record?.privateIpAddress,
    ARN: record?.containerInstanceArn,
    HEALTH: record?.health.status,
    PRESENCE: about?.after ? presenceState(about.after) : undefined,
    CAUSE: record?.departure?.cause,
  };
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      `ROLLCALL_EVENT_${name}`,
      printable(value ?? '').slice(0, MAX_VALUE),
    ]),
  );
}
