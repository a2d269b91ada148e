import { printable } from '../../lib/foreign-text.ts';
import { type CloudEvent, parseEventKind } from '../../record/cloud-event.ts';
import type { EventKind } from '../../record/events.ts';
import type { NodeRecord } from '../../record/record.ts';
import type { Piece } from '../terminal.ts';

/** What `rollcall watch` prints of an event on a terminal: columns, with the kind of event in its colour. */
const COLOURS: Partial<Record<EventKind, NonNullable<Piece['colour']>>> = {
  lost: 'red',
  difference: 'red',
  uncertain: 'red',
  departed: 'yellow',
  interruption: 'yellow',
  registered: 'green',
  restarted: 'green',
  recovered: 'green',
  certain: 'green',
  resolved: 'green',
  updated: 'grey',
  forgotten: 'grey',
  synced: 'grey',
};

/** The longest kind, `interruption`. */
const KIND_CHARS = 12;
const MAX_LINE_CHARS = 300;

/**
 * One line, or none: the nodes of a snapshot are counted in the line of its end. Text of records is made printable.
 * @param time of day, as it begins the line
 */
export function terminalLine(event: CloudEvent, time: string): readonly Piece[] {
  const kind = parseEventKind(event.type);
  if (kind === undefined || (event.snapshot === true && kind !== 'synced')) return [];
  const { data } = event;
  const columns = [...nodeColumns(event), whatHappened(kind, event)];
  const text = printable(columns.filter((column) => column !== '').join('  ')).slice(0, MAX_LINE_CHARS);
  const shown = kind === 'synced' ? 'connected' : kind;
  const colour = kind === 'health' ? healthColour(data) : COLOURS[kind];
  return [{ text: `${time}  ` }, { text: shown.padEnd(KIND_CHARS), colour }, { text: `  ${text}\n` }];
}

function nodeColumns({ subject = '', data }: CloudEvent): readonly string[] {
  const known = 'record' in data ? (data.record ?? data.previous) : 'kind' in data ? data : undefined;
  if (known === undefined) return [];
  return [subject, (known?.privateIpAddress ?? '-').padEnd(15), known?.cluster ?? '-'];
}

function healthColour(data: CloudEvent['data']): Piece['colour'] {
  const status = 'record' in data ? data.record?.health.status : undefined;
  return status === 'critical' ? 'red' : status === 'warning' ? 'yellow' : 'green';
}

function whatHappened(kind: EventKind, { data, revision }: CloudEvent): string {
  if ('instanceIds' in data) {
    const count = data.instanceIds.length;
    return `${count} ${count === 1 ? 'node' : 'nodes'} on the roll at revision ${revision}`;
  }
  if ('vanished' in data) {
    return `${data.vanished} of ${data.nodes} nodes vanished at once; the store or the network may be what failed`;
  }
  if ('returned' in data) return `${data.returned} returned, ${data.lost} lost`;
  if ('kind' in data) return `${data.kind}: ${data.reason}`;
  const { record, previous } = data;
  if (record === null) return previous === null ? '' : 'its last record is no longer kept';
  switch (kind) {
    case 'lost':
      return `last ${record.health.status}${data.uncertain ? ', uncertain' : ''}`;
    case 'departed':
      return record.departure?.cause ?? '';
    case 'interruption':
      return record.interruption === null
        ? 'the notice is withdrawn'
        : Object.values(record.interruption)
            .filter((part) => part !== null)
            .join(' ');
    case 'health':
      return `${previous === null ? '' : `${previous.health.status} → `}${record.health.status}${reasons(record)}`;
    case 'updated':
      return changedFields(previous, record);
    default:
      return `${record.health.status}${reasons(record)}`;
  }
}

function reasons({ health }: NodeRecord): string {
  const worst = health.checks.filter(({ status }) => status !== 'passing');
  const texts = worst.map(({ name, reason }) => (reason === '' ? name : `${name}: ${reason}`));
  return texts.length === 0 ? '' : `: ${texts.join('; ')}`;
}

/** The fields that have another value, but for those with an event of their own. */
function changedFields(previous: NodeRecord | null, record: NodeRecord): string {
  if (previous === null) return '';
  const names = (Object.keys(record) as (keyof NodeRecord)[]).filter(
    (name) =>
      !['health', 'interruption', 'sidecar'].includes(name) &&
      JSON.stringify(record[name]) !== JSON.stringify(previous[name]),
  );
  return names.join(', ');
}
