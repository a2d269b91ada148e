import { clusterOf } from './arn-scope.ts';
import {
  type AuditReport,
  DIFFERENCE_KINDS,
  type Difference,
  type DifferenceKind,
  NOTE_KINDS,
  type Note,
  type NoteKind,
} from './audit-report.ts';
import { arnOf, instanceIdOf, type Verdict } from './verdict.ts';

/** @param about clusters by name; instants on the wall clock */
export function buildReport(
  verdicts: readonly Verdict[],
  about: {
    readonly clusters: readonly string[];
    readonly startedMs: number;
    readonly finishedMs: number;
    readonly revision: string;
  },
): AuditReport {
  const count = (kind: Verdict['kind']) => verdicts.filter((verdict) => verdict.kind === kind).length;
  return {
    schemaVersion: 1,
    clusters: about.clusters.toSorted(),
    startedAt: new Date(about.startedMs).toISOString(),
    finishedAt: new Date(about.finishedMs).toISOString(),
    revision: about.revision,
    agreeing: count('agreeing'),
    elsewhere: count('elsewhere'),
    differences: DIFFERENCE_KINDS.flatMap((kind): Difference[] => findings(verdicts, kind)),
    notes: NOTE_KINDS.flatMap((kind): Note[] => findings(verdicts, kind)),
  };
}

function findings<K extends DifferenceKind | NoteKind>(verdicts: readonly Verdict[], kind: K) {
  return verdicts
    .filter((verdict) => verdict.kind === kind)
    .map((verdict) => ({
      kind,
      instanceId: instanceIdOf(verdict),
      cluster: verdict.instance?.cluster ?? (verdict.record && clusterOf(verdict.record)),
      containerInstanceArn: arnOf(verdict),
      privateIpAddress: verdict.record?.privateIpAddress ?? null,
      since: verdict.since,
      reason: verdict.reason,
    }))
    .map((finding) => ({
      finding,
      key: JSON.stringify([finding.cluster, finding.instanceId, finding.containerInstanceArn]),
    }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ finding }) => finding);
}
