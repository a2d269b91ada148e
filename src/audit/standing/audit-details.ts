import { type Decoded, decode } from '../../record/codec.ts';
import { field } from '../../record/field.ts';
import type { AuditReport, Difference, Note } from '../audit-report.ts';
import type { AuditResult } from './audit-summary.ts';

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
