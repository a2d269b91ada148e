import { printable } from '../../lib/foreign-text.ts';
import { type CloudEvent, parseEventKind } from '../../record/cloud-event.ts';
import { whatHappened } from '../../record/event-words.ts';
import type { EventKind } from '../../record/events.ts';
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
  const columns = [...nodeColumns(event), whatHappened(event)];
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
