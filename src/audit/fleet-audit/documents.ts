import { type Decoded, decode, FieldError, field } from '../../record/codec.ts';
import { type AuditReport, DIFFERENCE_KINDS, type Difference, type DifferenceKind, type Note } from '../report.ts';

/** The little that every agent of the fleet reads again and again: how the last audit ended, and what it counted. */
export interface AuditSummary {
  /** The leader's, between the beginnings of two audits. */
  readonly intervalMs: number;
  readonly lastRun: LastRun;
  /** Of the last audit that came to an end; null before the first. */
  readonly result: AuditResult | null;
}

export interface LastRun {
  readonly by: AuditedBy;
  /** RFC 3339. */
  readonly endedAt: string;
  /** One line; null: it came to a result. */
  readonly error: string | null;
}

/** Who audited. */
export interface AuditedBy {
  readonly session: string;
  readonly instanceId: string | null;
}

export interface AuditResult {
  readonly by: AuditedBy;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly finishedAt: string;
  /** The store's, of the roll that was compared last. */
  readonly revision: string;
  readonly clusters: number;
  readonly agreeing: number;
  readonly elsewhere: number;
  readonly differences: Readonly<Record<DifferenceKind, number>>;
}

const SCHEMA_VERSION = 1;

export function encodeSummary(summary: AuditSummary): string {
  return JSON.stringify({ schemaVersion: SCHEMA_VERSION, ...summary });
}

/** @param json the stored value, which a later version of rollcall may have written */
export function decodeSummary(json: string): Decoded<AuditSummary> {
  return decode(json, (value) => {
    const from = field.object(value, 'value');
    const version = field.number(from['schemaVersion'], 'schemaVersion');
    if (version !== SCHEMA_VERSION) throw new FieldError(`schemaVersion ${version} is not ${SCHEMA_VERSION}`);
    const lastRun = field.object(from['lastRun'], 'lastRun');
    return {
      intervalMs: field.number(from['intervalMs'], 'intervalMs'),
      lastRun: {
        by: readAuditor(lastRun['by']),
        endedAt: instant(lastRun['endedAt'], 'lastRun.endedAt'),
        error: field.optionalText(lastRun['error'], 'lastRun.error'),
      },
      result: field.optional(from['result'], 'result', readResult),
    };
  });
}

function readResult(from: Readonly<Record<string, unknown>>): AuditResult {
  const counted = field.object(from['differences'], 'differences');
  const counts = DIFFERENCE_KINDS.map((kind) => [kind, field.number(counted[kind], `differences.${kind}`)]);
  return {
    by: readAuditor(from['by']),
    startedAt: instant(from['startedAt'], 'startedAt'),
    finishedAt: instant(from['finishedAt'], 'finishedAt'),
    revision: field.text(from['revision'], 'revision'),
    clusters: field.number(from['clusters'], 'clusters'),
    agreeing: field.number(from['agreeing'], 'agreeing'),
    elsewhere: field.number(from['elsewhere'], 'elsewhere'),
    differences: Object.fromEntries(counts) as Record<DifferenceKind, number>,
  };
}

function readAuditor(value: unknown): AuditedBy {
  const from = field.object(value, 'by');
  return {
    session: field.text(from['session'], 'by.session'),
    instanceId: field.optionalText(from['instanceId'], 'by.instanceId'),
  };
}

function instant(value: unknown, path: string): string {
  const text = field.text(value, path);
  if (!Number.isFinite(Date.parse(text))) throw new FieldError(`${path}: expected an instant`);
  return text;
}

/**
 * What a result says beside its counts. It holds nothing that ticks, and is written only when it differs: audits that
 * come to the same do not fill the store.
 */
export interface AuditDetails {
  readonly clusters: readonly string[];
  readonly differences: readonly Difference[];
  readonly notes: readonly Note[];
  /** How many more there were of each kind; only kinds of which some are left out. */
  readonly omitted: Readonly<Record<string, number>>;
}

/** etcd takes 1.5 MiB in one transaction, and each watcher of the store is sent what is written. */
const MAX_TEXT_BYTES = 256 * 1024;
const MAX_CLUSTERS_BYTES = 16 * 1024;
/** So that a thousand of one kind leave room for the one of another. */
const MAX_OF_A_KIND = 200;

/** The details of a report, cut to what a store takes: the first of each kind, and how many more there are. */
export function boundDetails({ clusters, differences, notes }: AuditReport): AuditDetails {
  const kept = new Map<string, number>();
  const omitted: Record<string, number> = {};
  let bytes = 0;
  const fits = <T extends Difference | Note>(finding: T): boolean => {
    const { kind } = finding;
    const size = Buffer.byteLength(JSON.stringify(finding)) + 1;
    const count = kept.get(kind) ?? 0;
    if (count < MAX_OF_A_KIND && bytes + size <= MAX_TEXT_BYTES) {
      bytes += size;
      kept.set(kind, count + 1);
      return true;
    }
    omitted[kind] = (omitted[kind] ?? 0) + 1;
    return false;
  };
  let clusterBytes = 0;
  const named = clusters.filter((name) => {
    clusterBytes += name.length + 3;
    return clusterBytes <= MAX_CLUSTERS_BYTES;
  });
  if (named.length < clusters.length) omitted['cluster'] = clusters.length - named.length;
  return { clusters: named, differences: differences.filter(fits), notes: notes.filter(fits), omitted };
}

export function encodeDetails(details: AuditDetails): string {
  return JSON.stringify({ schemaVersion: 1, ...details });
}

/** Whoever wrote the summary beside it wrote this, too; only its outer form is looked at. */
export function decodeDetails(json: string): Decoded<AuditDetails> {
  return decode(json, (value) => {
    const from = field.object(value, 'value');
    return {
      clusters: field.list(from['clusters'], 'clusters') as readonly string[],
      differences: field.list(from['differences'], 'differences') as readonly Difference[],
      notes: field.list(from['notes'], 'notes') as readonly Note[],
      omitted: field.object(from['omitted'], 'omitted') as Readonly<Record<string, number>>,
    };
  });
}

/** The report again, with what was left out of it. */
export function reportOf(
  { startedAt, finishedAt, revision, agreeing, elsewhere }: AuditResult,
  { clusters, differences, notes, omitted }: AuditDetails,
): AuditReport & Pick<AuditDetails, 'omitted'> {
  const times = { startedAt, finishedAt, revision };
  return { schemaVersion: 1, clusters, ...times, agreeing, elsewhere, differences, notes, omitted };
}
