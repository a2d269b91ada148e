import { decode, field } from '../record/codec.ts';
import { isDifference, type Verdict, verdictKey } from './audit-report.ts';

/**
 * What an audit knows from previous audits, as plain JSON. It is passed from one audit to the next, in the process or
 * through the store. A single audit has none.
 */
export interface AuditMemory {
  /** By `verdictKey`. */
  readonly sightings: Readonly<Record<string, Sighting>>;
  /** Ghosts, vanished ones included, for which there was no room: how many, and since when there have been no more. */
  readonly beyond?: Beyond;
}

type Beyond = Pick<Sighting, 'firstAt' | 'lastAt'> & { readonly count: number };

/** A difference that consecutive audits found. Between two audits it may have been absent. */
export interface Sighting {
  /** RFC 3339. */
  readonly firstAt: string;
  readonly lastAt: string;
  /** Number of audits, 1 to `COUNTED_AUDITS`. It stops there, so that an unchanged memory is not written again. */
  readonly audits: number;
}

export const emptyAuditMemory: AuditMemory = { sightings: {} };

/** Two previous audits are enough for `judgeDisconnection`. */
const COUNTED_AUDITS = 2;
/** Audits further apart than this say nothing about the time between them. */
export const MAX_GAP_MS = 3_600_000;
/** The oldest are kept. Each has about 150 bytes, and the memory must fit in one value of the store. */
const MAX_SIGHTINGS = 2_000;

/** The consecutive audits up to the last one that found this; null: the last one did not, or is too long ago. */
export function recall(memory: AuditMemory, key: string, nowMs: number, maxGapMs = MAX_GAP_MS): Sighting | null {
  const sighting = Object.hasOwn(memory.sightings, key) ? memory.sightings[key] : undefined;
  return sighting && nowMs - Date.parse(sighting.lastAt) <= maxGapMs ? sighting : null;
}

/**
 * What stands for `count` ghosts that are not remembered one by one. Null where there are more of them than before: then
 * some are new, and which ones is not known.
 */
export function recallBeyond({ beyond }: AuditMemory, count: number, nowMs: number, maxGapMs: number): Beyond | null {
  return beyond && count <= beyond.count && nowMs - Date.parse(beyond.lastAt) <= maxGapMs ? beyond : null;
}

/** The memory after an audit with these verdicts. A difference that the audit did not find is dropped. */
export function remember(
  memory: AuditMemory,
  verdicts: readonly Verdict[],
  nowMs: number,
  maxGapMs = MAX_GAP_MS,
): AuditMemory {
  const lastAt = new Date(nowMs).toISOString();
  const seen = verdicts
    .filter(({ kind }) => isDifference(kind) || kind === 'disconnected-now' || kind === 'vanished')
    .map((verdict): [string, Sighting] => {
      const key = verdictKey(verdict);
      // A ghost may have been one of many that vanished.
      const earlier = verdict.kind === 'ghost' ? verdictKey({ ...verdict, kind: 'vanished' }) : key;
      const before = recall(memory, key, nowMs, maxGapMs) ?? recall(memory, earlier, nowMs, maxGapMs);
      return [
        key,
        { firstAt: before?.firstAt ?? lastAt, lastAt, audits: Math.min((before?.audits ?? 0) + 1, COUNTED_AUDITS) },
      ];
    })
    .sort(([a, { firstAt: one }], [b, { firstAt: other }]) =>
      one === other ? (a < b ? -1 : 1) : one < other ? -1 : 1,
    );
  const sightings = Object.fromEntries(seen.slice(0, MAX_SIGHTINGS));
  const count = seen.slice(MAX_SIGHTINGS).filter(([key]) => /^(ghost|vanished) /.test(key)).length;
  const before = recallBeyond(memory, count, nowMs, maxGapMs);
  return { sightings, ...(count > 0 && { beyond: { firstAt: before?.firstAt ?? lastAt, lastAt, count } }) };
}

/** Together with the report, well below etcd's limit of 1.5 MiB for one transaction. */
const MAX_MEMORY_BYTES = 640 * 1024;

/**
 * The memory for the next leader. `lastAt` is omitted, because it changes with each audit and is equal to the end of the
 * audit stored beside it. A memory that is too large for the store becomes empty; only this leader then has it.
 */
export function encodeMemory({ sightings, beyond }: AuditMemory): string {
  const lasting = Object.entries(sightings).map(([key, { firstAt, audits }]) => [key, { firstAt, audits }]);
  const more = beyond && { firstAt: beyond.firstAt, count: beyond.count };
  const text = JSON.stringify({ sightings: Object.fromEntries(lasting), beyond: more });
  return Buffer.byteLength(text) <= MAX_MEMORY_BYTES ? text : JSON.stringify(emptyAuditMemory);
}

/**
 * The memory from the store; empty if there is none or it is unreadable.
 * @param lastAt the end of the last audit with a result (RFC 3339); null: none
 */
export function decodeMemory(json: string | null, lastAt: string | null): AuditMemory {
  if (json === null || lastAt === null) return emptyAuditMemory;
  const decoded = decode(json, (value): AuditMemory => {
    const from = field.object(value, 'value');
    const sightings = field.object(from['sightings'], 'sightings');
    const beyond = field.optional(from['beyond'], 'beyond', (each) => ({
      firstAt: field.text(each['firstAt'], 'firstAt'),
      lastAt,
      count: field.number(each['count'], 'count'),
    }));
    return {
      ...(beyond && { beyond }),
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
