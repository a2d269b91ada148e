import { printable } from '../../lib/foreign-text.ts';
import { describeUnmatched, filterRoll } from '../../record/filter.ts';
import { presenceState, type RollEntry } from '../../record/roll.ts';
import type { Registry } from '../../registry/registry.ts';
import { parseRollQuery } from '../query.ts';
import { type Handler, problem } from '../reply.ts';
import { readForRoute } from '../routes/roll-routes.ts';
import { contentPolicy, PAGE_HEADERS } from './page.ts';

const STYLE =
  ':root{color-scheme:light dark}body{font:14px/1.4 system-ui,sans-serif;margin:1rem}table{border-collapse:collapse}' +
  'th,td{padding:.2rem .7rem;text-align:left;border-bottom:1px solid #8886;vertical-align:top}thead th{font-weight:600}';

const COLUMNS = ['Address', 'Instance', 'State', 'Health', 'Reason', 'Since', 'Cluster', 'Zone', 'ecs-agent'];

/** Rows per piece, so that 10,000 do not block the event loop. */
const PIECE_ROWS = 100;

/** The roll as a plain table, for browsers without JavaScript. It takes the filters of `/v1/containerInstances`. */
export function plainTable(registry: Pick<Registry, 'read'>): Handler {
  return async (request) => {
    const parsed = parseRollQuery(request.query);
    if (!parsed.ok) return problem(400, parsed.detail, { instance: request.path });
    const read = await readForRoute(registry, request);
    if ('status' in read) return read;
    const { roll, ageMs, stale, uncertainty } = read;
    const entries = filterRoll(roll.entries, parsed.value);
    const age = `revision ${roll.revision}, ${Math.ceil(ageMs / 1_000)} s old`;
    const notes = [
      stale ? 'The store does not answer: this is the last known roll.' : '',
      uncertainty ? `${uncertainty.vanished} of ${uncertainty.nodes} nodes vanished at once; they may return.` : '',
      ...describeUnmatched(roll.entries, parsed.value).map((note) => `${note}.`),
    ];
    const head = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>rollcall</title>
<style>${STYLE}</style></head><body><h1>rollcall: ${entries.length} nodes</h1><p>${html(age)}. <a href="/plain?presence=all">All</a>,
<a href="/plain">present</a>, <a href="/plain?health=warning,critical">not well</a>, <a href="/plain?presence=lost">lost</a>.
<strong>${html(notes.filter(Boolean).join(' '))}</strong></p>
<table><thead><tr>${COLUMNS.map((name) => `<th scope="col">${name}</th>`).join('')}</tr></thead><tbody>
`;
    return {
      status: 200,
      contentType: 'text/html; charset=utf-8',
      headers: { ...PAGE_HEADERS, 'Content-Security-Policy': await contentPolicy(head) },
      body: tablePieces(head, entries),
    };
  };
}

function* tablePieces(head: string, entries: readonly RollEntry[]): Iterable<string> {
  yield head;
  for (let first = 0; first < entries.length; first += PIECE_ROWS) {
    yield entries
      .slice(first, first + PIECE_ROWS)
      .map(tableRow)
      .join('');
  }
  yield '</tbody></table></body></html>\n';
}

function tableRow(entry: RollEntry): string {
  const { record } = entry;
  const { health } = record;
  const worst = health.checks.find(({ status }) => status === health.status && status !== 'passing');
  const state = presenceState(entry);
  const cells = [
    record.privateIpAddress,
    record.ec2InstanceId,
    state === 'departed' ? `departed: ${record.departure?.cause}` : state,
    health.status,
    worst ? `${worst.name}: ${worst.reason}` : '',
    health.since,
    record.cluster,
    record.availabilityZone,
    record.versionInfo.agentVersion,
  ];
  const [address, ...rest] = cells.map((cell) => html(cell ?? '–'));
  return `<tr><th scope="row">${address}</th>${rest.map((cell) => `<td>${cell}</td>`).join('')}</tr>\n`;
}

/** Text as it may stand in HTML, outside tags and within quotes. */
function html(text: string): string {
  return printable(text).replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
