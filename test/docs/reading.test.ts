import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { LIST_FIELD_NAMES } from '../../src/cli/columns.ts';
import { eventType } from '../../src/record/cloud-event.ts';
import { EVENT_KINDS } from '../../src/record/events.ts';
import { DEPARTURE_CAUSES } from '../../src/record/record.ts';
import { PRESENCE_STATES } from '../../src/record/roll.ts';
import { NO_NOTICES } from '../../src/sources/notices.ts';
import { startWorld } from '../agent/start-agent.ts';

const page = (name: string) => readFileSync(new URL(`../../docs/${name}.md`, import.meta.url), 'utf8');
const quoted = (text: string | undefined) => [...(text ?? '').matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
const sorted = (names: readonly string[]) => [...names].sort();

/** What the first column of the table below a heading has in backticks. */
function firstColumn(text: string, heading: string): readonly string[] {
  const below = text.split(`\n## ${heading}\n`)[1] ?? '';
  const rows = below.split(/\n#+ /)[0]?.match(/^\| `.*$/gm) ?? [];
  return sorted(rows.flatMap((row) => quoted(row.split(' | ')[0])));
}

test('docs/reading.md names each path of an agent, and no other', async (t) => {
  const { url } = await (await startWorld(t)).startAgent();
  const answer = await (await fetch(`${url}/`)).text();
  const paths = answer.split('\n').filter((line) => line.startsWith('/'));
  assert.ok(paths.length > 5, answer);
  const named = firstColumn(page('reading'), 'HTTP').filter((name) => name.startsWith('/'));
  assert.deepEqual(named, sorted(paths.map((path) => path.replace(':id', '{id}'))));
});

test('docs/reading.md names each column of list, each presence and each cause, and no other', () => {
  const text = page('reading');
  const row = /^\| `--fields NAMES` \|(.*)\|$/m.exec(text)?.[1];
  assert.deepEqual(quoted(row).join().split(' '), LIST_FIELD_NAMES);
  assert.deepEqual(firstColumn(text, 'Present, departed, lost'), sorted(PRESENCE_STATES));
  assert.deepEqual(sorted(quoted(/^\| `departed` \|(.*)$/m.exec(text)?.[1])), sorted(DEPARTURE_CAUSES));
});

test('docs/events.md names each type of event, and no other', () => {
  assert.deepEqual(firstColumn(page('events'), 'Types'), sorted(EVENT_KINDS.map(eventType)));
});

test('docs/health.md names each kind of notice, and no other', () => {
  assert.deepEqual(firstColumn(page('health'), 'Notices'), sorted(Object.keys(NO_NOTICES)));
});

test('the loop over nodes in docs/reading.md gives ssh each address as one argument that is no option', () => {
  const loop =
    /^ {4}rollcall list [^\n]* while read [\s\S]*?^ {4}done$/m.exec(page('reading'))?.[0] ?? assert.fail('none');
  // This ssh takes its standard input, as the real one does without -n: the loop would end after the first node.
  const script = `
    rollcall() { printf '%s\\n' '10.0.0.1  i-1' '-         i-2' '-oProxyCommand=touch$IFS  i-3' '* i-4'; }
    ssh() { [ "$1" = -n ] || cat >/dev/null; printf '<%s>' "$@"; echo; }
    ${loop}`;
  const lines = execFileSync('bash', ['-euc', script], { encoding: 'utf8' }).trimEnd().split('\n');
  const called = ['10.0.0.1', '-oProxyCommand=touch$IFS', '*'];
  assert.deepEqual(
    lines,
    called.map((ip) => `<-n><--><${ip}><uptime>`),
  );
});
