import type { CheckVerdict } from '../record/record.ts';
import { presenceState, type RollEntry } from '../record/roll.ts';
import { formatDuration } from '../timing/duration.ts';
import { LIST_FIELDS, type ListFieldName } from './list-fields.ts';
import { renderTable } from './render-table.ts';

const FIELDS: readonly ListFieldName[] = [
  'notice',
  'instance',
  'ip',
  'public-ip',
  'dns',
  'cluster',
  'arn',
  'agent',
  'az',
  'region',
  'type',
  'lifecycle',
  'image',
  'account',
  'machine',
  'labels',
];

/** One node for people. @param nowMs wall clock, for the ages */
export function renderInstance(entry: RollEntry, nowMs: number): string {
  const { record, presence } = entry;
  const rows: [string, string | null][] = [
    ['State', stateText(entry, nowMs)],
    ['Health', `${record.health.status} ${since(record.health.since, nowMs)}`],
    ...record.health.checks.map((check): [string, string] => [`  ${check.name}`, checkText(check, nowMs)]),
    ...FIELDS.map((name): [string, string | null] => [title(LIST_FIELDS[name].header), LIST_FIELDS[name].value(entry)]),
    ['Registered', `${record.registeredAt} (${age(record.registeredAt, nowMs)} ago)`],
    ['Sidecar', `rollcall ${record.sidecar.version}, session ${record.sidecar.session}`],
    ['Presence', presence ? `session ${presence.session}, TTL ${formatDuration(presence.ttlSeconds * 1_000)}` : null],
  ];
  return renderTable(null, rows);
}

function stateText(entry: RollEntry, nowMs: number): string {
  const { record, presence } = entry;
  const state = presenceState(entry);
  if (presence) return `${state} ${since(presence.since, nowMs)}`;
  if (record.departure) return `${state} (${record.departure.cause}) ${since(record.departure.at, nowMs)}`;
  return `${state}: its agent ended without a goodbye or is cut off from the store`;
}

function checkText(check: CheckVerdict, nowMs: number): string {
  const reason = check.reason === '' ? '' : `: ${check.reason}`;
  return `${check.status} ${since(check.since, nowMs)}${reason}`;
}

function since(instant: string, nowMs: number): string {
  return `since ${instant} (${age(instant, nowMs)})`;
}

/** Another node's clock wrote the instant: it may lie ahead of ours, which is not an age below zero. */
function age(instant: string, nowMs: number): string {
  const instantMs = Date.parse(instant);
  return Number.isNaN(instantMs) ? 'unknown' : formatDuration(Math.max(0, nowMs - instantMs));
}

function title(header: string): string {
  const words = header.toLowerCase().replace(/\b(ip|az|dns|ecs|arn)\b/g, (acronym) => acronym.toUpperCase());
  return words.charAt(0).toUpperCase() + words.slice(1);
}
