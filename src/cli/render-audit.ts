import { type AuditReport, DIFFERENCE_KINDS, type DifferenceKind, type Note } from '../audit/audit-report.ts';
import { printable } from '../printable.ts';
import { formatDuration } from '../timing/duration.ts';
import { renderTable } from './render-table.ts';

/** More notes than that push the answer off the screen; JSON has all of them. */
const MAX_NOTES = 20;
const LEGEND = ['DIFFERENCE', 'INSTANCE', 'IP', 'SINCE', 'CONTAINER INSTANCE ARN', 'REASON'];
const PLURALS: Record<DifferenceKind, string> = {
  ghost: 'ghosts',
  stray: 'strays',
  disconnected: 'disconnected',
  mismatch: 'mismatches',
};

/** An audit for people: a line per difference, by kind, and a summary. */
export function renderAudit(report: AuditReport): string {
  const rows = report.differences.map((difference) => [
    difference.kind,
    difference.instanceId,
    difference.privateIpAddress,
    sinceText(difference.since, report),
    difference.containerInstanceArn,
    difference.reason,
  ]);
  return `${rows.length === 0 ? '' : renderTable(LEGEND, rows)}${printable(summary(report))}\n`;
}

/** What is worth a line and is no difference. */
export function renderNotes({ notes }: AuditReport): string[] {
  const lines = notes
    .slice(0, MAX_NOTES)
    .map((note) => printable(`note: ${note.kind}: ${nameOf(note)}: ${note.reason}`));
  const more = notes.length - lines.length;
  return more > 0 ? [...lines, `note: ${more} more notes; -o json has them all`] : lines;
}

function summary({ clusters, agreeing, differences, elsewhere }: AuditReport): string {
  const where = clusters.length > 3 ? `${clusters.length} clusters` : clusters.join(', ');
  const counts = DIFFERENCE_KINDS.map((kind) => ({ kind, n: differences.filter((each) => each.kind === kind).length }))
    .filter(({ n }) => n > 0)
    .map(({ kind, n }) => `${n} ${n === 1 ? kind : PLURALS[kind]}`);
  const differ = counts.length === 0 ? 'none differs' : `${differences.length} differ: ${counts.join(', ')}`;
  const rest = elsewhere === 0 ? '' : `; ${elsewhere} present in other clusters, regions or accounts`;
  return `${where}: ${agreeing} agree, ${differ}${rest}`;
}

/** Another node's clock may have written the instant: it may lie ahead of ours, which is not an age below zero. */
function sinceText(since: string | null, { finishedAt }: AuditReport): string | null {
  const ageMs = Date.parse(finishedAt) - Date.parse(since ?? '');
  if (since === null || Number.isNaN(ageMs)) return since;
  return `${since} (${formatDuration(Math.max(0, ageMs))})`;
}

function nameOf({ instanceId, privateIpAddress, containerInstanceArn, cluster }: Note): string {
  const id = instanceId ?? containerInstanceArn ?? 'unknown';
  return [id, privateIpAddress, cluster === null ? null : `in ${cluster}`].filter((part) => part !== null).join(' ');
}
