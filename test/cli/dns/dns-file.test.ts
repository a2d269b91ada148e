import assert from 'node:assert/strict';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openDnsFile } from '../../../src/cli/dns/dns-file.ts';
import { type DnsNames, MADE_BY, renderHosts, renderZone } from '../../../src/cli/dns/dns-names.ts';

const SETTINGS = {
  zone: 'rollcall.internal',
  byLabel: ['role'],
  services: [{ name: 'http', port: 80 }],
  ttlSeconds: 5,
};
const node = (n: number) => ({ instanceId: `i-0000000${n}`, address: `10.0.0.${n}`, byLabel: ['i-00000009.role'] });
const NAMES: DnsNames = { nodes: [node(1), node(2)], leftOut: [] };

async function setUp(t: TestContext, render = (names: DnsNames) => renderHosts(names, SETTINGS)) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-dns-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const path = join(dir, 'names');
  const file = await openDnsFile(path, render);
  t.after(() => file.release());
  return { path, file };
}

test('a file that was deleted or changed meanwhile is made again, also where no name changes', async (t) => {
  const { path, file } = await setUp(t);
  assert.equal(await file.update(NAMES), 'written');
  const whole = await readFile(path, 'utf8');
  assert.equal(await file.update(NAMES), 'unchanged');
  await rm(path);
  assert.equal(await file.update(NAMES), 'written');
  await writeFile(path, `${whole}10.0.0.3 by.hand\n`);
  assert.equal(await file.update(NAMES), 'written');
  assert.equal(await readFile(path, 'utf8'), whole);
  assert.equal(await file.update(NAMES), 'unchanged');
});

test('a file that is deleted or replaced as soon as it is written is made again', async (t) => {
  const { path, file } = await setUp(t);
  for (const change of [() => rmSync(path), () => writeFileSync(path, `# ${MADE_BY}\n10.0.0.3 by.hand\n`)]) {
    rmSync(path, { force: true });
    const writing = file.update(NAMES);
    // The folder is not on the disk yet: the writer goes on after this.
    while (!existsSync(path)) await new Promise((resolve) => setImmediate(resolve));
    change();
    assert.equal(await writing, 'written');
    assert.equal(await file.update(NAMES), 'written');
    assert.equal(await file.update(NAMES), 'unchanged');
  }
});

test('a file of another program that came in its place is not replaced', async (t) => {
  const { path, file } = await setUp(t);
  await file.update(NAMES);
  await writeFile(path, '127.0.0.1 localhost\n');
  await assert.rejects(file.update({ nodes: [node(1)], leftOut: [] }), /it was not made by rollcall dns/);
  assert.equal(await readFile(path, 'utf8'), '127.0.0.1 localhost\n');
});

for (const [format, render] of [
  ['hosts', (names: DnsNames) => renderHosts(names, SETTINGS)],
  ['zone', (names: DnsNames) => renderZone(names, SETTINGS, 7)],
] as const) {
  test(`the nodes that a ${format} file names are read from it`, async (t) => {
    const { file } = await setUp(t, render);
    assert.deepEqual(file.instanceIds(), []);
    await file.update(NAMES);
    assert.deepEqual(file.instanceIds(), ['i-00000001', 'i-00000002']);
  });
}
