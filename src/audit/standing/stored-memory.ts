import { decode } from '../../record/codec.ts';
import { field } from '../../record/field.ts';
import { type AuditMemory, emptyAuditMemory, type Sighting } from '../audit-memory.ts';

/** With the details beside it, well below the 1.5 MiB that etcd takes in one transaction. */
const MAX_MEMORY_BYTES = 640 * 1024;

/** What the next leader goes on with. One that is too large for the store is kept by this one alone. */
export function encodeMemory(memory: AuditMemory): string {
  const text = JSON.stringify(memory);
  return Buffer.byteLength(text) <= MAX_MEMORY_BYTES ? text : JSON.stringify(emptyAuditMemory);
}

/** Empty where there is none, or none that can be read: audits then count from this one. */
export function decodeMemory(json: string | null): AuditMemory {
  if (json === null) return emptyAuditMemory;
  const decoded = decode(json, (value): AuditMemory => {
    const sightings = field.object(field.object(value, 'value')['sightings'], 'sightings');
    return { sightings: Object.fromEntries(Object.entries(sightings).map(([key, each]) => [key, readSighting(each)])) };
  });
  return decoded.ok ? decoded.value : emptyAuditMemory;
}

function readSighting(value: unknown): Sighting {
  const from = field.object(value, 'sighting');
  return {
    firstAt: field.text(from['firstAt'], 'firstAt'),
    lastAt: field.text(from['lastAt'], 'lastAt'),
    audits: field.number(from['audits'], 'audits'),
  };
}
