import { decode, field } from '../record/codec.ts';
import { isDifference, type Verdict, verdictKey } from './report.ts';

/**
 * What a repeated audit knows from those before it: plain JSON, to be handed from one run to the next, in a process or
 * through the store. A one-off audit starts with none.
 */
export interface AuditMemory {
  /** By `verdictKey`. */
  readonly sightings: Readonly<Record<string, Sighting>>;
}

/** What each of some audits in a row has seen. It may have been otherwise between them. */
export interface Sighting {
  /** RFC 3339. */
  readonly firstAt: string;
  readonly lastAt: string;
  /** How many, 1 to `COUNTED_AUDITS`: of what goes on no more is to be known, and a memory that stays is not written again. */
  readonly audits: number;
}

export const emptyAuditMemory: AuditMemory = { sightings: {} };

/** Two before the one that looks are enough: `judgeDisconnection`. */
const COUNTED_AUDITS = 2;
/** Audits further apart than this say nothing about the time between them. */
const MAX_GAP_MS = 3_600_000;
/** The oldest are kept. About 150 bytes each: the memory has to fit in a value of the store. */
const MAX_SIGHTINGS = 2_000;

/** What audits in a row, up to the last one, have seen of this; null: the last one did not see it, or is too long ago. */
export function recall(memory: AuditMemory, key: string, nowMs: number): Sighting | null {
  const sighting = Object.hasOwn(memory.sightings, key) ? memory.sightings[key] : undefined;
  return sighting && nowMs - Date.parse(sighting.lastAt) <= MAX_GAP_MS ? sighting : null;
}

/** The memory after an audit that came to these verdicts. What it did not see any more is forgotten. */
export function remember(memory: AuditMemory, verdicts: readonly Verdict[], nowMs: number): AuditMemory {
  const lastAt = new Date(nowMs).toISOString();
  const seen = verdicts
    .filter((verdict) => isDifference(verdict.kind) || verdict.kind === 'disconnected-now')
    .map((verdict): [string, Sighting] => {
      const key = verdictKey(verdict);
      const before = recall(memory, key, nowMs);
      return [
        key,
        { firstAt: before?.firstAt ?? lastAt, lastAt, audits: Math.min((before?.audits ?? 0) + 1, COUNTED_AUDITS) },
      ];
    })
    .sort(([a, { firstAt: one }], [b, { firstAt: other }]) =>
      one === other ? (a < b ? -1 : 1) : one < other ? -1 : 1,
    );
  return { sightings: Object.fromEntries(seen.slice(0, MAX_SIGHTINGS)) };
}

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
