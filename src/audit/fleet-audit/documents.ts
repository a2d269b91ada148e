import { describeError } from '../../lib/errors.ts';
import { type Decoded, decode, FieldError, field } from '../../record/codec.ts';
import {
  type AuditReport,
  DIFFERENCE_KINDS,
  type Difference,
  type DifferenceKind,
  isUndecided,
  type Note,
} from '../audit-report.ts';
import { type AuditMemory, encodeMemory } from '../history.ts';

import { type FoundDifferences, findDifferences } from './kept-differences.ts';

/** The short document that every agent of the fleet reads every few seconds: how the last audit ended, and its counts. */
export interface AuditSummary {
  /** The leader's: from the beginning of one audit to the beginning of the next. */
  readonly intervalMs: number;
  readonly lastRun: LastRun;
  /** Of the last audit that succeeded; null before the first. */
  readonly result: AuditResult | null;
}

interface LastRun {
  readonly by: AuditedBy;
  /** RFC 3339. */
  readonly endedAt: string;
  /** One line; null: it succeeded. */
  readonly error: string | null;
}

/** The agent that audited. */
interface AuditedBy {
  readonly session: string;
  readonly instanceId: string | null;
}

interface AuditResult {
  readonly by: AuditedBy;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly finishedAt: string;
  /** The store's, of the roll that was compared last. */
  readonly revision: string;
  readonly clusters: number;
  readonly agreeing: number;
  readonly elsewhere: number;
  /** Nodes that it could not tell about. */
  readonly undecided: number;
  readonly differences: Readonly<Record<DifferenceKind, number>>;
}

const SCHEMA_VERSION = 1;

export function encodeAuditSummary(summary: AuditSummary): string {
  return JSON.stringify({ schemaVersion: SCHEMA_VERSION, ...summary });
}

/** @param json the stored value, which a later version of rollcall may have written */
export function decodeAuditSummary(json: string): Decoded<AuditSummary> {
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
    // An earlier version writes none.
    undecided: field.number(from['undecided'] ?? 0, 'undecided'),
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
 * The findings behind the counts of a result. It holds no times, and is written only when it differs: audits that find
 * the same do not fill the store.
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
/** So that a thousand findings of one kind leave room for the one of another. */
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

/** Only the outer form is checked: the agent that wrote the summary beside it wrote this, too. */
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

/** What an audit that has ended writes to the store. */
export interface Publication {
  readonly summary: string;
  /** null: the audit failed, and the details in the store stay. */
  readonly found: {
    readonly details: string;
    readonly memoryText: string;
    readonly memory: AuditMemory;
    readonly differences: FoundDifferences;
  } | null;
}

interface RunContext {
  readonly by: AuditedBy;
  readonly intervalMs: number;
  /** RFC 3339. */
  readonly endedAt: string;
}

/** What is written after an audit that succeeded. */
export function publishResult(report: AuditReport, memory: AuditMemory, context: RunContext): Publication {
  const { by, intervalMs, endedAt } = context;
  const { startedAt, finishedAt, revision, agreeing, elsewhere } = report;
  const count = (kind: DifferenceKind) => report.differences.filter((difference) => difference.kind === kind).length;
  const differences = Object.fromEntries(DIFFERENCE_KINDS.map((kind) => [kind, count(kind)])) as Record<
    DifferenceKind,
    number
  >;
  const clusters = report.clusters.length;
  const undecided = report.notes.filter(({ kind }) => isUndecided(kind)).length;
  const summary = encodeAuditSummary({
    intervalMs,
    lastRun: { by, endedAt, error: null },
    result: { by, startedAt, finishedAt, revision, clusters, agreeing, elsewhere, undecided, differences },
  });
  const details = encodeDetails(boundDetails(report));
  return {
    summary,
    found: { details, memoryText: encodeMemory(memory), memory, differences: findDifferences(report) },
  };
}

/** What is written after an audit that failed: the cause, beside the last result, which stays. */
export function publishFailure(error: unknown, last: AuditSummary | null, context: RunContext): Publication {
  const { by, intervalMs, endedAt } = context;
  const lastRun = { by, endedAt, error: describeError(error) };
  return { summary: encodeAuditSummary({ intervalMs, lastRun, result: last?.result ?? null }), found: null };
}
