import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { runProgram } from '../../../src/cli/program.ts';
import { json, startScriptedAgent } from '../../client/scripted-agent.ts';
import { until } from '../../support/machine-time.ts';
import { runInProcess, testContext } from '../../support/run-in-process.ts';
import { sampleRecord } from '../../support/sample-record.ts';
import { openTestRoll } from '../../support/test-roll.ts';

const PATIENCE_MS = 30_000;
const SICK = { status: 'critical' as const, since: '2026-01-01T00:00:00Z', checks: [] };

async function world(t: TestContext) {
  const roll = await openTestRoll(t);
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-dns-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, 'names');
  const dns = (...args: string[]) => runInProcess(['dns', '--store', roll.url, ...args]);
  /** `rollcall dns --watch` in this process, until `stop`. */
  const watch = (...args: string[]) => {
    const said = { stdout: '', stderr: '' };
    const ending = new AbortController();
    const context = { ...testContext(said), signal: ending.signal };
    const ended = runProgram(['dns', '--watch', '--file', file, '--store', roll.url, ...args], context);
    const stop = () => {
      ending.abort(new Error('ended by SIGINT'));
      return ended;
    };
    t.after(stop);
    return { said, stop };
  };
  const names = async () => ((await readFile(file, 'utf8').catch(() => '')).match(/^10\.\S+/gm) ?? []).join(' ');
  return { roll, dir, file, dns, watch, names };
}

test('a label of the names that no node has is named with those there are', async (t) => {
  const { roll, dns } = await world(t);
  await roll.register(1, { labels: { role: 'web' } });
  await roll.register(2, { labels: { rack: '3' }, health: SICK });
  const { code, stderr } = await dns('--by-label', 'rol,rack');
  assert.deepEqual([code, stderr], [0, 'note: no node has the label "rol"; labels: rack, role\n']);
});

test('it prints present, passing nodes; a label that is no name is left out and named', async (t) => {
  const { roll, dns } = await world(t);
  await roll.register(1, { labels: { role: 'web' } });
  await roll.register(2, { labels: { role: 'no_name' } });
  await roll.register(3, { health: SICK });
  await roll.end(4);
  const hosts = await dns('--by-label', 'role', '--zone', 'fleet.example.');
  assert.deepEqual(hosts, {
    code: 0,
    stdout:
      '# Made by rollcall dns; changes are lost\n' +
      '10.0.0.1 i-00000001.fleet.example web.role.fleet.example\n10.0.0.2 i-00000002.fleet.example\n',
    stderr: 'warning: left out: i-00000002: label role="no_name" is not a DNS name of letters, digits and dashes\n',
  });
  const zone = await dns('--format', 'zone', '--srv', 'http=80,metrics=9100', '--health', 'critical', '--ttl', '5s');
  assert.match(zone.stdout, /^\$TTL 5\n@ IN SOA .*\n@ IN NS .*\ni-00000003 IN A 10\.0\.0\.3\n_http/m);
  assert.match(zone.stdout, /^_metrics\._tcp IN SRV 0 0 9100 i-00000003$/m);
});

test('wrong usage is one line and status 2', async (t) => {
  const { dns, dir } = await world(t);
  const own = join(dir, 'hosts');
  await writeFile(own, '127.0.0.1 localhost\n');
  for (const [args, cause] of [
    [['--watch'], /--watch needs --file/],
    [['--srv', 'http=80'], /--srv has no effect with --format hosts/],
    [['--format', 'zone', '--srv', 'http'], /NAME=PORT/],
    [['--format', 'zone', '--srv', 'a_b=80'], /NAME=PORT/],
    [['--format', 'zone', '--srv', 'http=65536'], /NAME=PORT/],
    [['--zone', 'a..b'], /domain/],
    [['--by-label', 'team/name'], /A key in a name/],
    [['--file', own], /it was not made by rollcall dns; remove it, or name another file/],
    [['--file', dir], /it is not a file/],
    [['--file', join(dir, 'none', 'x')], /use a file in an existing, writable folder/],
  ] as const) {
    const { code, stdout, stderr } = await dns(...args);
    assert.deepEqual([code, stdout, stderr.trimEnd().split('\n').length], [2, '', 1], `${args}: ${stderr}`);
    assert.match(stderr, cause);
  }
  assert.equal(await readFile(own, 'utf8'), '127.0.0.1 localhost\n');
});

test('a file is replaced only when names change, the serial rises only then, and a link stays a link', async (t) => {
  const { roll, dir, file, dns } = await world(t);
  await roll.register(1);
  await dns('--format', 'zone', '--file', file);
  const first = await stat(file);
  const link = join(dir, 'link');
  await symlink(file, link);
  assert.equal((await dns('--format', 'zone', '--file', link)).code, 0);
  assert.equal((await stat(file)).ino, first.ino, 'nothing is written while nothing changes');
  const serial = async () => Number(/SOA \S+ \S+ (\d+)/.exec(await readFile(file, 'utf8'))?.[1]);
  const before = await serial();
  await roll.register(2);
  assert.equal((await dns('--format', 'zone', '--file', link)).code, 0);
  assert.ok((await serial()) > before);
  assert.deepEqual((await readdir(dir)).sort(), ['link', 'names', 'names.lock']);
  // A name server of another user reads it.
  assert.equal((await stat(file)).mode & 0o777, 0o644);
});

test('a file with names is not emptied, nor written when many nodes are lost', async (t) => {
  const { roll, file, dns, names } = await world(t);
  for (const n of [1, 2, 3, 4]) await roll.register(n);
  await dns('--file', file);
  assert.equal(await names(), '10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4');
  const none = await dns('--file', file, '--az', 'us-east-1a', '--health', 'critical');
  assert.deepEqual(
    [none.code, none.stderr],
    [1, `rollcall dns: ${file} stays as it is: no node matches, and it has names\n`],
  );
  for (const n of [1, 2, 3]) await roll.end(n);
  const lost = await dns('--file', file, '--mass-loss-count', '2');
  assert.equal(lost.code, 1);
  assert.match(
    lost.stderr,
    /^rollcall dns: \S+ stays as it is: 3 of 4 nodes are lost .*; or set --mass-loss-share off\n$/,
  );
  assert.equal(await names(), '10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4');
  assert.equal((await dns('--file', file, '--mass-loss-share', 'off')).code, 0);
  assert.equal(await names(), '10.0.0.4');
});

test('a file is not written when most of its nodes have no record any more, nor by a stale answer of an agent', async (t) => {
  const { roll, file, dns, names } = await world(t);
  for (const n of [1, 2]) await roll.register(n);
  const lines = [1, 3, 4].map((n) => `10.0.0.${n} i-0000000${n}.rollcall.internal\n`).join('');
  await writeFile(file, `# Made by rollcall dns; changes are lost\n${lines}`);
  const lost = await dns('--file', file, '--mass-loss-count', '2');
  assert.deepEqual(
    [lost.code, lost.stderr],
    [
      1,
      `rollcall dns: ${file} stays as it is: 2 of the 3 nodes that it names have no record any more (67%, more than 30%):` +
        ' the store may have lost its data, and running agents are back within 30s; or set --mass-loss-share off\n',
    ],
  );
  const list = { revision: '7', ageMs: 12, stale: true, uncertainty: null, skipped: [], notes: [] };
  const { ec2InstanceId } = sampleRecord();
  const instance = { ...sampleRecord(), presence: { state: 'present', session: 's', since: 's', ttlSeconds: 30 } };
  const agent = await startScriptedAgent(t, json(200, { ...list, containerInstances: [instance] }));
  const stale = await runInProcess(['dns', '--agent', agent.url, '--file', file, '--mass-loss-share', 'off']);
  assert.equal(stale.code, 1);
  assert.match(stale.stderr, /\nrollcall dns: \S+ stays as it is: the agent cannot read the store at present; .*\n$/);
  assert.equal(await names(), '10.0.0.1 10.0.0.3 10.0.0.4');
  await rm(file);
  assert.equal((await runInProcess(['dns', '--agent', agent.url, '--file', file])).code, 0);
  assert.match(await readFile(file, 'utf8'), new RegExp(ec2InstanceId));
});

test('--watch follows the roll, keeps the names of a mass loss, and ends', async (t) => {
  const { roll, file, names, watch, dns } = await world(t);
  for (const n of [1, 2, 3, 4, 5]) await roll.register(n);
  const { said, stop } = watch('--mass-loss-count', '2');
  await until('the file is there', PATIENCE_MS, async () => (await names()) !== '');
  assert.match((await dns('--file', file)).stderr, /another rollcall dns keeps it current/);
  await roll.register(6);
  await until('the new node', PATIENCE_MS, async () => (await names()).endsWith('10.0.0.6'));
  await roll.end(6, { departure: { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } });
  await until('the departed node is gone', PATIENCE_MS, async () => !(await names()).includes('10.0.0.6'));
  for (const n of [1, 2, 3]) await roll.end(n);
  await until('it says so', PATIENCE_MS, () => said.stderr.includes('many nodes vanished at once'));
  await roll.register(7);
  await until('a new node is named meanwhile', PATIENCE_MS, async () => (await names()).endsWith('10.0.0.7'));
  assert.equal(await names(), '10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.7');
  assert.deepEqual([await stop(), said.stdout], [1, '']);
});

test('--watch that starts in a mass loss keeps the names of before', async (t) => {
  const { roll, file, names, watch, dns } = await world(t);
  for (const n of [1, 2, 3, 4]) await roll.register(n);
  await dns('--file', file);
  for (const n of [1, 2, 3]) await roll.end(n);
  const { said, stop } = watch('--mass-loss-count', '2');
  await until('it says so', PATIENCE_MS, () => said.stderr.includes('stays as it is for 31s: 3 of 4 nodes are lost'));
  assert.equal(await names(), '10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4');
  for (const n of [1, 2, 3, 5]) await roll.register(n);
  await until('they are back', PATIENCE_MS, async () => (await names()).endsWith('10.0.0.5'));
  await stop();
});
