import { FieldError, field } from '../record/field.ts';
import type { InstanceJson } from '../record/instance-json.ts';
import { readRecord } from '../record/read-record.ts';
import { type NodeRecord, SCHEMA_VERSION } from '../record/record.ts';
import { PRESENCE_STATES } from '../record/roll.ts';

/** A node as agents write it. @throws FieldError */
export function readInstance(value: unknown): InstanceJson {
  const from = field.object(value, 'instance');
  return { ...readKnownRecord(from), presence: readPresence(from['presence']) };
}

/** @throws FieldError, also for a record that is newer than this reader */
export function readKnownRecord(value: unknown): NodeRecord {
  const record = readRecord(value);
  if (record.schemaVersion <= SCHEMA_VERSION) return record;
  throw new FieldError(`schemaVersion ${record.schemaVersion} is newer than ${SCHEMA_VERSION}; upgrade this reader`);
}

/** @throws FieldError */
export function readPresence(value: unknown): InstanceJson['presence'] {
  const from = field.object(value, 'presence');
  return {
    state: field.oneOf(PRESENCE_STATES, from['state'], 'presence.state'),
    session: field.optionalText(from['session'], 'presence.session'),
    since: field.optionalText(from['since'], 'presence.since'),
    ttlSeconds: from['ttlSeconds'] == null ? null : field.number(from['ttlSeconds'], 'ttlSeconds'),
  };
}
