import { type Decoded, decode } from '../../record/codec.ts';
import { FieldError, field } from '../../record/field.ts';
import { DIFFERENCE_KINDS, type DifferenceKind } from '../audit-report.ts';

/** The little that every agent of the fleet reads again and again: how the last audit ended, and what it counted. */
export interface AuditSummary {
  /** The leader's, between the beginnings of two audits. */
  readonly intervalMs: number;
  readonly lastRun: LastRun;
  /** Of the last audit that came to an end; null before the first. */
  readonly result: AuditResult | null;
}

export interface LastRun {
  readonly by: Auditor;
  /** RFC 3339. */
  readonly endedAt: string;
  /** One line; null: it came to a result. */
  readonly error: string | null;
}

/** Who audited. */
export interface Auditor {
  readonly session: string;
  readonly instanceId: string | null;
}

export interface AuditResult {
  readonly by: Auditor;
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

function readAuditor(value: unknown): Auditor {
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
