import type { CloudEventData } from '../record/cloud-event.ts';
import { eventType } from '../record/cloud-event.ts';
import type { EventKind } from '../record/event.ts';
import { parseEventKind } from '../record/event-filter.ts';
import { field } from '../record/field.ts';
import { readKnownRecord, readPresence } from './read-instance.ts';
import { readUncertainty } from './read-uncertainty.ts';
import type { RollCloudEvent } from './roll-cloud-event.ts';

type Json = Readonly<Record<string, unknown>>;

/**
 * An event as agents write it; null for a type that only a newer agent knows.
 * @throws FieldError, SyntaxError when it is not JSON
 */
export function parseCloudEvent(text: string): RollCloudEvent | null {
  const from = field.object(JSON.parse(text), 'event');
  const kind = parseEventKind(field.text(from['type'], 'type'));
  if (kind === undefined) return null;
  const isRoll = kind === 'synced' || kind === 'uncertain' || kind === 'certain';
  const event = {
    specversion: field.oneOf(['1.0'], from['specversion'], 'specversion'),
    id: field.text(from['id'], 'id'),
    source: field.text(from['source'], 'source'),
    type: eventType(kind),
    ...(isRoll ? {} : { subject: field.text(from['subject'], 'subject') }),
    time: field.text(from['time'], 'time'),
    datacontenttype: 'application/json',
    revision: field.text(from['revision'], 'revision'),
    ...(from['snapshot'] === true ? { snapshot: true } : {}),
    data: readData(kind, field.object(from['data'], 'data')),
  };
  // `readData` gives each type the data that goes with it, which the compiler cannot follow through a variable type.
  return event as RollCloudEvent;
}

function readData(kind: EventKind, from: Json): CloudEventData {
  switch (kind) {
    case 'synced':
      return { instanceIds: field.list(from['instanceIds'], 'data.instanceIds').map(String) };
    case 'uncertain':
      return readUncertainty(from);
    case 'certain':
      return { returned: field.number(from['returned'], 'returned'), lost: field.number(from['lost'], 'lost') };
    default:
      return {
        record: kind === 'forgotten' ? null : readKnownRecord(from['record']),
        previous: field.optional(from['previous'], 'previous', readKnownRecord),
        presence: kind === 'forgotten' ? null : readPresence(from['presence']),
      };
  }
}
