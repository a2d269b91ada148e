import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { allCommands, flagTables, withTables } from '../../scripts/docs.ts';
import { handlerEnvironment } from '../../src/cli/watch/handler.ts';
import { cloudEvent } from '../../src/record/cloud-event.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(`${ROOT}/${path}`, 'utf8');
const PAGES = ['README.md', ...readdirSync(`${ROOT}/docs`, { recursive: true }).map((name) => `docs/${name}`)].filter(
  (path) => path.endsWith('.md'),
);

test('docs/configuration.md says what the flags say', () => {
  const page = read('docs/configuration.md');
  const commands = allCommands();
  assert.ok(commands.length >= 8, `${commands.length} commands`);
  assert.ok(page === withTables(page, flagTables(commands)), 'docs/configuration.md is out of date: run npm run docs');
});

/** ROLLCALL_TIMEOUT is the limit of one call to etcd in every other command: a wait must not take it for its own. */
const OTHER_VARIABLES: Readonly<Record<string, string>> = { 'wait --timeout': 'ROLLCALL_WAIT_TIMEOUT' };

test('every flag has a variable of the same name', () => {
  for (const command of allCommands()) {
    for (const { long, envVar } of command.options) {
      const same = `ROLLCALL_${long?.slice(2).replaceAll('-', '_').toUpperCase()}`;
      assert.equal(envVar, OTHER_VARIABLES[`${command.name()} ${long}`] ?? same, command.name());
    }
  }
});

test('a page without its markers is refused, not overwritten', () => {
  assert.throws(() => withTables('# Configuration\n', ''), /lacks a marker/);
});

test('the pages name only variables that exist', () => {
  const flags = allCommands().flatMap(({ options }) => options.map(({ envVar }) => envVar));
  const event = { kind: 'certain', revision: '1', upTo: '1', part: 0, returned: 0, lost: 0 } as const;
  const handlers = Object.keys(handlerEnvironment(cloudEvent(event, 'store', 0)));
  // These two are for the shell of the unit.
  const known = new Set([...flags, ...handlers, 'ROLLCALL_IMAGE', 'ROLLCALL_DOCKER_ARGS']);
  for (const path of PAGES) {
    const named = read(path).match(/\bROLLCALL_[A-Z0-9_]*[A-Z0-9]\b/g) ?? [];
    assert.deepEqual(
      [...new Set(named)].filter((name) => !known.has(name)),
      [],
      path,
    );
  }
});

test('docs/events.md names every variable that a handler of events gets', () => {
  const event = { kind: 'certain', revision: '1', upTo: '1', part: 0, returned: 0, lost: 0 } as const;
  const given = Object.keys(handlerEnvironment(cloudEvent(event, 'store', 0)));
  const named = read('docs/events.md').match(/ROLLCALL_EVENT_[A-Z_]*[A-Z]/g) ?? [];
  assert.deepEqual([...new Set(named)].sort(), given.sort());
});
