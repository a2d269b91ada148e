import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { settings } from '../units/fleet-faults.ts';

const read = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), 'utf8');
const PAGE = await read('docs/unit.md');
const chapter = (heading: string) => PAGE.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? '';

for (const [file, heading] of [
  ['rollcall.service', 'rollcall.service'],
  ['amazon-ecs-agent.service', 'amazon-ecs-agent.service'],
  ['rollcall.service.d/backoff.conf', 'Drop-ins'],
  ['rollcall.service.d/etcd-tls.conf', 'Drop-ins'],
  ['rollcall.service.d/no-notify.conf', 'Drop-ins'],
  ['amazon-ecs-agent.service.d/bridge.conf', 'Drop-ins'],
] as const) {
  test(`docs/unit.md explains each setting of ${file}`, async () => {
    const names = settings(await read(`units/${file}`)).map(({ name }) => name);
    // Both are for people: what the unit is called, and where its program is described.
    const silent = new Set(['Description', 'Documentation']);
    const missing = names.filter((name) => !silent.has(name) && !chapter(heading).includes(`${name}=`));
    assert.deepEqual(missing, []);
  });
}

test('docs/unit.md explains each argument of docker run in rollcall.service', async () => {
  const start = settings(await read('units/rollcall.service')).find(({ name }) => name === 'ExecStart')?.value ?? '';
  const run = start.slice(start.indexOf('docker run'), start.indexOf('ROLLCALL_IMAGE'));
  const args = run.match(/(?<= )--[a-z-]+/g) ?? [];
  assert.ok(args.length > 8, run);
  assert.deepEqual(
    args.filter((arg) => !chapter('rollcall.service').includes(arg)),
    [],
  );
});

test('docs/unit.md names no setting that no unit has', async () => {
  const files = ['rollcall.service', 'amazon-ecs-agent.service', 'rollcall.service.d/backoff.conf'];
  const more = ['rollcall.service.d/etcd-tls.conf', 'rollcall.service.d/no-notify.conf'];
  const texts = await Promise.all([...files, ...more].map((file) => read(`units/${file}`)));
  const known = new Set(texts.flatMap((text) => settings(text).map(({ name }) => name)));
  const named = [...PAGE.matchAll(/`([A-Z][a-z][A-Za-z]*)=/g)].map(([, name = '']) => name);
  // The page says why the units do not have it.
  known.add('Requires');
  assert.deepEqual(
    named.filter((name) => !known.has(name)),
    [],
  );
});
