import { decode } from '../../record/codec.ts';
import { field } from '../../record/field.ts';
import { type AuditMemory, emptyAuditMemory, type Sighting } from '../audit-memory.ts';

/** With the details beside it, well below the 1.5 MiB that etcd takes in one transaction. */
const MAX_MEMORY_BYTES = 640 * 1024;

/**
 * What the next leader goes on with, without what ticks: all of it was seen last by the audit whose result is beside it.
 * One that is too large for the store is kept by this leader alone.
 */
export function encodeMemory({ sightings }: AuditMemory): string {
  const lasting = Object.entries(sightings).map(([key, { firstAt, audits }]) => [key, { firstAt, audits }]);
  const text = JSON.stringify({ sightings: Object.fromEntries(lasting) });
  return Buffer.byteLength(text) <= MAX_MEMORY_BYTES ? text : JSON.stringify(emptyAuditMemory);
}

/**
 * Empty where there is none, or none that can be read: audits then count from this one.
 * @param lastAt when the last audit that came to a result ended (RFC 3339); null: none did
 */
export function decodeMemory(json: string | null, lastAt: string | null): AuditMemory {
  if (json === null || lastAt === null) return emptyAuditMemory;
  const decoded = decode(json, (value): AuditMemory => {
    const sightings = field.object(field.object(value, 'value')['sightings'], 'sightings');
    return {
      sightings: Object.fromEntries(Object.entries(sightings).map(([key, each]) => [key, readSighting(each, lastAt)])),
    };
  });
  return decoded.ok ? decoded.value : emptyAuditMemory;
}

function readSighting(value: unknown, lastAt: string): Sighting {
  const from = field.object(value, 'sighting');
  return {
    firstAt: field.text(from['firstAt'], 'firstAt'),
    lastAt,
    audits: field.number(from['audits'], 'audits'),
  };
}
