import { isWord } from '../lib/foreign-text.ts';
import { type CloudEventData, eventType, parseEventKind } from '../record/cloud-event.ts';
import { FieldError, field, freeText, INSTANCE_ID, optionalFreeText, readRecord } from '../record/codec.ts';
import { readDifference } from '../record/difference.ts';
import type { EventKind, Uncertainty } from '../record/events.ts';
import { describeRefused } from '../record/flaws.ts';
import { type NodeRecord, SCHEMA_VERSION } from '../record/record.ts';
import { type InstanceJson, PRESENCE_STATES, type SkippedKey } from '../record/roll.ts';
import type { RollCloudEvent, RollList } from './types.ts';

/** Parses a node in an agent's JSON. @throws FieldError */
export function readInstance(value: unknown): InstanceJson {
  const from = field.object(value, 'instance');
  // Not a copy: of that `refusedFields` knows nothing.
  return Object.assign(readKnownRecord(from), { presence: readPresence(from['presence']) });
}

/** @throws FieldError, also for a record with a newer `schemaVersion` */
function readKnownRecord(value: unknown): NodeRecord {
  const record = readRecord(value);
  if (record.schemaVersion <= SCHEMA_VERSION) return record;
  throw new FieldError(`schemaVersion ${record.schemaVersion} is newer than ${SCHEMA_VERSION}; upgrade this reader`);
}

/** @throws FieldError */
function readPresence(value: unknown): InstanceJson['presence'] {
  const from = field.object(value, 'presence');
  return {
    state: field.oneOf(PRESENCE_STATES, from['state'], 'presence.state'),
    session: optionalFreeText(from['session'], 'presence.session'),
    since: optionalFreeText(from['since'], 'presence.since'),
    ttlSeconds: from['ttlSeconds'] == null ? null : field.number(from['ttlSeconds'], 'ttlSeconds'),
  };
}

/** @throws FieldError */
export function readUncertainty(from: Readonly<Record<string, unknown>>): Uncertainty {
  return {
    vanished: field.number(from['vanished'], 'vanished'),
    nodes: field.number(from['nodes'], 'nodes'),
    limitShare: field.number(from['limitShare'], 'limitShare'),
    limitCount: field.number(from['limitCount'], 'limitCount'),
    since: freeText(from['since'], 'since'),
    until: freeText(from['until'], 'until'),
  };
}

type Json = Readonly<Record<string, unknown>>;

/** An event about one node has data that this version cannot read, as of a newer agent: the other events still hold. */
export class UnreadableEventError extends FieldError {
  readonly skipped: SkippedKey;
  constructor(key: string, { message: reason }: FieldError) {
    super(reason);
    this.skipped = { key, reason };
  }
}

/**
 * Parses an event in an agent's JSON; null for an unknown type, as of a newer agent.
 * @throws UnreadableEventError, another FieldError, SyntaxError if the text is not JSON
 */
export function parseCloudEvent(text: string): RollCloudEvent | null {
  const from = field.object(JSON.parse(text), 'event');
  const kind = parseEventKind(field.text(from['type'], 'type'));
  if (kind === undefined) return null;
  const subject = readSubject(kind, from['subject']);
  const revision = freeText(from['revision'], 'revision');
  const data = readKnownData(kind, subject, from['data'], revision);
  if ('record' in data && data.record !== null && data.record.ec2InstanceId !== subject) {
    throw new FieldError('subject: expected the instance id of the record');
  }
  const event = {
    specversion: field.oneOf(['1.0'], from['specversion'], 'specversion'),
    id: freeText(from['id'], 'id'),
    source: freeText(from['source'], 'source'),
    type: eventType(kind),
    ...(subject === null ? {} : { subject }),
    time: freeText(from['time'], 'time'),
    datacontenttype: 'application/json',
    revision,
    ...(from['snapshot'] === true ? { snapshot: true } : {}),
    data,
  };
  // `readData` returns the data of the event's type, which the compiler cannot see.
  return event as RollCloudEvent;
}

/** What the event is about: an instance id; of an audit's also the ARN of a container instance, or nothing. */
function readSubject(kind: EventKind, subject: unknown): string | null {
  if (isOfRoll(kind)) return null;
  if (kind !== 'difference' && kind !== 'resolved') return readInstanceId(subject, 'subject');
  const about = field.optionalText(subject, 'subject');
  if (about !== null && !isWord(about)) throw new FieldError('subject: expected an instance id or an ARN');
  return about;
}

/** @throws FieldError */
export function readInstanceId(value: unknown, path: string): string {
  const text = field.text(value, path);
  if (!INSTANCE_ID.test(text)) throw new FieldError(`${path}: expected an instance id`);
  return text;
}

function isOfRoll(kind: EventKind): boolean {
  return kind === 'synced' || kind === 'uncertain' || kind === 'certain';
}

/**
 * @throws UnreadableEventError for an event about one node, as those about the whole roll cannot be left out. Its key is the
 * node only where its record is what cannot be read: what the audit says leaves the node as it is. FieldError
 */
function readKnownData(kind: EventKind, subject: string | null, data: unknown, revision: string): CloudEventData {
  try {
    return readData(kind, field.object(data, 'data'), revision);
  } catch (error) {
    if (isOfRoll(kind) || !(error instanceof FieldError)) throw error;
    const ofAudit = kind === 'difference' || kind === 'resolved';
    throw new UnreadableEventError(ofAudit || subject === null ? eventType(kind) : subject, error);
  }
}

function readData(kind: EventKind, from: Json, revision: string): CloudEventData {
  switch (kind) {
    case 'synced':
      return {
        instanceIds: field
          .list(from['instanceIds'], 'data.instanceIds')
          .map((id) => readInstanceId(id, 'data.instanceIds')),
      };
    case 'uncertain':
      return readUncertainty(from);
    case 'certain':
      return {
        // An older agent sends none.
        upTo: optionalFreeText(from['upTo'], 'upTo') ?? revision,
        returned: field.number(from['returned'], 'returned'),
        lost: field.number(from['lost'], 'lost'),
      };
    case 'difference':
    case 'resolved':
      return readDifference(from);
    default:
      return {
        record: kind === 'forgotten' ? null : readKnownRecord(from['record']),
        previous: readPrevious(from['previous']),
        presence: kind === 'forgotten' ? null : readPresence(from['presence']),
        ...(from['uncertain'] === true ? { uncertain: true } : {}),
      };
  }
}

/** One that this version cannot read is none, as with a store: the event still says what is now, and no deletion is missed. */
function readPrevious(value: unknown): NodeRecord | null {
  try {
    return field.optional(value, 'previous', readKnownRecord);
  } catch (error) {
    if (error instanceof FieldError) return null;
    throw error;
  }
}

/**
 * Parses the body of `/v1/containerInstances`. A node with a newer or invalid record goes to `skipped`, as with a store.
 * @throws FieldError, SyntaxError if the text is not JSON
 */
export function parseRollList(text: string): RollList {
  const from = field.object(JSON.parse(text), 'body');
  const containerInstances: InstanceJson[] = [];
  const skipped: SkippedKey[] = field.list(from['skipped'], 'skipped').map(readSkipped);
  for (const value of field.list(from['containerInstances'], 'containerInstances')) {
    try {
      containerInstances.push(readInstance(value));
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      skipped.push({ key: instanceName(value), reason: error.message });
    }
  }
  return {
    containerInstances,
    revision: freeText(from['revision'], 'revision'),
    ageMs: field.number(from['ageMs'], 'ageMs'),
    stale: from['stale'] === true,
    uncertainty: field.optional(from['uncertainty'], 'uncertainty', readUncertainty),
    skipped,
    // Older agents do not send these. This reader may refuse more fields than the agent.
    notes: [
      ...field.list(from['notes'] ?? [], 'notes').map((note) => freeText(note, 'notes')),
      ...describeRefused(containerInstances.map((record) => ({ record, presence: null }))),
    ],
    next: optionalFreeText(from['next'], 'next'),
  };
}

function readSkipped(value: unknown): SkippedKey {
  const from = field.object(value, 'skipped');
  return { key: freeText(from['key'], 'skipped.key'), reason: freeText(from['reason'], 'skipped.reason') };
}

function instanceName(instance: unknown): string {
  const id = (instance as { ec2InstanceId?: unknown } | null)?.ec2InstanceId;
  return typeof id === 'string' ? freeText(id, 'ec2InstanceId') : 'containerInstances';
}
