import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { Resolver } from 'node:dns/promises';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { runProgram } from '../../src/cli/program.ts';
import { storeConfig } from '../../src/config/store-flags.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { openStore } from '../../src/store/open-store.ts';
import { freePorts } from '../support/etcd-ports.ts';
import { startEtcd } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { startOwned } from '../support/owned-process.ts';
import { PATIENCE_MS, startRollcall } from '../support/rollcall-process.ts';
import { testContext } from '../support/run-in-process.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { openTestRoll } from '../support/test-roll.ts';

const { signal } = new AbortController();
const ZONE = 'rollcall.internal';

/** Starts a name server, and asks it. */
async function startServer(t: TestContext, commandOf: (port: number) => Promise<readonly [string, ...string[]]>) {
  const [port = 0] = await freePorts(1);
  const server = startOwned(t, await commandOf(port), process.env);
  let said = '';
  for (const stream of [server.child.stdout, server.child.stderr]) stream.on('data', (chunk) => (said += chunk));
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  resolver.setServers([`127.0.0.1:${port}`]);
  const answers = async <T>(ask: Promise<readonly T[]>) => [...(await ask.catch(() => []))];
  return {
    child: server.child,
    said: () => said,
    addresses: async (name: string) => (await answers(resolver.resolve4(`${name}.${ZONE}`))).sort().join(' '),
    services: async (name: string) =>
      (await answers(resolver.resolveSrv(`${name}.${ZONE}`)))
        .map((each) => `${each.name}:${each.port}`)
        .sort()
        .join(' '),
  };
}

/** Knot DNS with the zone file, as an operator would set it up. */
async function startKnot(t: TestContext, dir: string, zoneFile: string) {
  const config = join(dir, 'knot.conf');
  await mkdir(join(dir, 'db'));
  const zone = `zone:\n  - domain: ${ZONE}\n    file: ${zoneFile}\n    zonefile-sync: -1\n    journal-content: none\n`;
  const knot = await startServer(t, async (port) => {
    const server = `server:\n  rundir: ${dir}\n  listen: 127.0.0.1@${port}\n`;
    const log = 'log:\n  - target: stderr\n    any: warning\n';
    await writeFile(config, `${server}database:\n  storage: ${dir}/db\n${log}${zone}`);
    return ['knotd', '--config', config];
  });
  const reload = () => promisify(execFile)('knotc', ['--config', config, '--blocking', 'zone-reload', ZONE]);
  return { ...knot, reload };
}

/** NSD with the zone file; it reads it anew at SIGHUP. */
async function startNsd(t: TestContext, dir: string, zoneFile: string) {
  const config = join(dir, 'nsd.conf');
  const files = ['pidfile', 'database', 'zonelistfile', 'xfrdfile'].map((name) => `  ${name}: "${dir}/nsd.${name}"\n`);
  const nsd = await startServer(t, async (port) => {
    const server = `server:\n  ip-address: 127.0.0.1@${port}\n  username: ""\n  server-count: 1\n${files.join('')}`;
    await writeFile(config, `${server}zone:\n  name: ${ZONE}\n  zonefile: ${zoneFile}\n`);
    return ['nsd', '-d', '-c', config];
  });
  return { ...nsd, reload: () => nsd.child.kill('SIGHUP') };
}

/** BIND with the zone file; it reads it anew at SIGHUP. */
async function startBind(t: TestContext, dir: string, zoneFile: string) {
  const config = join(dir, 'named.conf');
  const bind = await startServer(t, async (port) => {
    const listen = `listen-on port ${port} { 127.0.0.1; }; listen-on-v6 { none; };`;
    const files = `directory "${dir}"; pid-file "${dir}/named.pid"; session-keyfile "${dir}/named.key";`;
    const options = `options { ${listen} ${files} recursion no; dnssec-validation no; };\n`;
    await writeFile(config, `${options}controls { };\nzone "${ZONE}" { type primary; file "${zoneFile}"; };\n`);
    return ['named', '-g', '-n', '1', '-c', config];
  });
  return { ...bind, reload: () => bind.child.kill('SIGHUP') };
}

test('a name server answers with the nodes of the zone file, which follows the roll and outlives the store', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-dns-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const url = etcd.clientUrl.replace('http', 'etcd');
  const store = await openStore(storeConfig({ store: url }), {
    ...{ clock: systemClock, random: Math.random, create: true, signal },
  });
  t.after(() => store.close());
  const register = async (n: number, role: string) => {
    const ec2InstanceId = sampleInstanceId(n);
    const record = sampleRecord({ ec2InstanceId, privateIpAddress: `10.0.0.${n}`, labels: { role } });
    const registration = { instanceId: ec2InstanceId, session: 's', since: record.registeredAt, ttlMs: 600_000 };
    const outcome = await store.register({ ...registration, retentionMs: 1_200_000 }, record, {
      takeover: true,
      signal,
    });
    assert.equal(outcome.kind, 'registered');
  };
  await register(1, 'web');
  await register(2, 'web');
  await register(3, 'not_a_name');

  const file = join(dir, `${ZONE}.zone`);
  const args = ['dns', '--watch', '--file', file, '--format', 'zone', '--by-label', 'role', '--srv', 'http=8080'];
  const dns = startRollcall(t, args, { ROLLCALL_STORE: url });
  const zone = () => readFile(file, 'utf8').catch(() => '');
  await until('the zone is there', PATIENCE_MS, async () => (await zone()).includes('10.0.0.3'));
  assert.match(dns.stderr(), /^warning: left out: i-00000003: label role="not_a_name" is not a DNS name/);

  const server = await startKnot(t, dir, file);
  await until('it serves', PATIENCE_MS, async () => (await server.addresses('i-00000001')) === '10.0.0.1').catch(() =>
    assert.fail(server.said()),
  );
  assert.equal(await server.addresses('web.role'), '10.0.0.1 10.0.0.2');
  assert.equal(await server.services('_http._tcp.web.role'), `i-00000001.${ZONE}:8080 i-00000002.${ZONE}:8080`);
  assert.equal((await server.services('_http._tcp')).split(' ').length, 3);

  await register(4, 'web');
  await until('the zone has it', PATIENCE_MS, async () => (await zone()).includes('10.0.0.4'));
  await server.reload();
  await until('it is served', PATIENCE_MS, async () => (await server.addresses('web.role')).endsWith('10.0.0.4'));

  const last = await zone();
  await etcd.stop();
  await until('it says so', PATIENCE_MS, () =>
    dns.stderr().includes(`${file} stays as it is: the store does not answer`),
  );
  assert.equal(await zone(), last);
  assert.equal(server.said(), '');
  dns.child.kill('SIGTERM');
  await dns.ended;
});

/** A fleet in this process's memory, and `rollcall dns --watch` of it, also in this process. */
async function watchedRoll(t: TestContext, fileName: string, ...args: string[]) {
  const roll = await openTestRoll(t);
  for (const n of [1, 2]) await roll.register(n, { labels: { role: 'web' } });
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-dns-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const names = join(dir, 'names');
  await mkdir(names);
  const file = join(names, fileName);
  const said = { stdout: '', stderr: '' };
  const ending = new AbortController();
  const command = ['dns', '--watch', '--file', file, '--by-label', 'role', '--store', roll.url, ...args];
  const ended = runProgram(command, { ...testContext(said), signal: ending.signal });
  t.after(() => {
    ending.abort(new Error('ended by SIGINT'));
    return ended;
  });
  const has = async (text: string) => (await readFile(file, 'utf8').catch(() => '')).includes(text);
  await until('the file is there', PATIENCE_MS, () => has('10.0.0.2'));
  return { roll, dir, names, file, has };
}
const LEFT = { departure: { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } } as const;

test('dnsmasq reads a folder of hosts files by itself, and forgets the names that are gone', async (t) => {
  const { roll, names } = await watchedRoll(t, 'rollcall.hosts');
  const server = await startServer(t, async (port) => [
    ...(['dnsmasq', '--no-daemon', '--conf-file=/dev/null', '--user=root', '--no-resolv', '--no-hosts'] as const),
    ...[`--port=${port}`, '--listen-address=127.0.0.1', '--bind-interfaces', `--hostsdir=${names}`],
  ]);
  const serves = (addresses: string) =>
    until(`it serves ${addresses}`, PATIENCE_MS, async () => (await server.addresses('web.role')) === addresses).catch(
      () => assert.fail(server.said()),
    );
  await serves('10.0.0.1 10.0.0.2');
  assert.equal(await server.addresses('i-00000001'), '10.0.0.1');
  await roll.end(1, LEFT);
  await roll.register(3, { labels: { role: 'web' } });
  await serves('10.0.0.2 10.0.0.3');
  assert.equal(await server.addresses('i-00000001'), '');
});

for (const [name, start] of [
  ['NSD', startNsd],
  ['BIND', startBind],
] as const) {
  test(`${name} serves the zone, and its changes after a SIGHUP`, async (t) => {
    const { roll, dir, file, has } = await watchedRoll(t, `${ZONE}.zone`, '--format', 'zone', '--srv', 'http=8080');
    const server = await start(t, dir, file);
    const serves = (addresses: string) =>
      until(
        `it serves ${addresses}`,
        PATIENCE_MS,
        async () => (await server.addresses('web.role')) === addresses,
      ).catch(() => assert.fail(server.said()));
    await serves('10.0.0.1 10.0.0.2');
    assert.equal(await server.services('_http._tcp.web.role'), `i-00000001.${ZONE}:8080 i-00000002.${ZONE}:8080`);
    await roll.end(1, LEFT);
    await roll.register(3, { labels: { role: 'web' } });
    await until('the zone has both', PATIENCE_MS, async () => (await has('10.0.0.3')) && !(await has('10.0.0.1\n')));
    server.reload();
    await serves('10.0.0.2 10.0.0.3');
  });
}
