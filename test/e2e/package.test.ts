import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { until } from '../support/machine-time.ts';
import { startOwned } from '../support/owned-process.ts';
import { agentUrl, CLEAN_ENV, PATIENCE_MS, startFleet, startRollcall } from '../support/rollcall-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

/** The oldest that the client promises to run on, the one between, and the checkout's own major version. */
const NODES = { 20: '20.20.2', 22: '22.23.5', 24: '24.22.3' };
const VERSIONS = join(ROOT, 'node_modules/.cache/node-versions');
const nodeOf = (major: string) => join(VERSIONS, `node_modules/node-${major}/bin/node`);

const MAX_UNPACKED_BYTES = 3_000_000;
let project = '';

/** An empty project with nothing in it but what `npm install` of the packed package brings. */
before(async () => {
  const wanted = Object.entries(NODES).map(
    ([major, version]) => `node-${major}@npm:node-linux-${process.arch}@${version}`,
  );
  const stamp = join(VERSIONS, 'stamp');
  if ((await readFile(stamp, 'utf8').catch(() => '')) !== wanted.join()) {
    await rm(VERSIONS, { recursive: true, force: true });
    await mkdir(VERSIONS, { recursive: true });
    await writeFile(join(VERSIONS, 'package.json'), '{}');
    await run('npm', ['install', '--no-save', '--ignore-scripts', '--loglevel=error', ...wanted], { cwd: VERSIONS });
    await writeFile(stamp, wanted.join());
  }
  project = await mkdtemp(join(tmpdir(), 'rollcall-consumer-'));
  const pack = ['pack', '--silent', '--pack-destination', project];
  const { stdout: packed } = await run('npm', pack, { cwd: ROOT, env: CLEAN_ENV });
  await writeFile(join(project, 'package.json'), '{"name":"consumer","version":"1.0.0","type":"module"}');
  const install = ['install', '--offline', '--no-audit', '--no-fund', '--loglevel=error', `./${packed.trim()}`];
  await run('npm', install, { cwd: project, env: CLEAN_ENV });
  await rm(join(project, packed.trim()));
});
after(() => rm(project, { recursive: true, force: true }));

test('the package is alone in a project: no dependency, no program, under 3 MB, and nothing but what it needs', async () => {
  const folders = await readdir(join(project, 'node_modules'));
  assert.deepEqual(
    folders.filter((name) => name !== '.package-lock.json'),
    ['rollcall'],
  );

  const installed = join(project, 'node_modules/rollcall');
  const manifest = JSON.parse(await readFile(join(installed, 'package.json'), 'utf8'));
  for (const kind of ['dependencies', 'optionalDependencies', 'peerDependencies', 'bundleDependencies', 'bin']) {
    assert.equal(manifest[kind], undefined, kind);
  }
  assert.equal(manifest.private, undefined);
  assert.match(manifest.repository.url, /^git\+\w+:\/\/\S+\.git$/);
  assert.equal(manifest.engines.node, '>=20');

  const files = await readdir(installed, { recursive: true, withFileTypes: true });
  let bytes = 0;
  for (const file of files.filter((entry) => entry.isFile())) {
    bytes += (await readFile(join(file.parentPath, file.name))).byteLength;
  }
  assert.ok(bytes < MAX_UNPACKED_BYTES, `${bytes} bytes`);
  const top = (await readdir(installed)).toSorted();
  const pages = ['CHANGELOG.md', 'CONTRIBUTING.md', 'README.md', 'SECURITY.md'];
  assert.deepEqual(top, [...pages, 'LICENSE', 'deploy', 'dist', 'docs', 'package.json'].sort());
  const dist = (await readdir(join(installed, 'dist'))).toSorted();
  assert.deepEqual(dist, ['client-http.js', 'client.THIRD-PARTY.md', 'client.js', 'types']);
  assert.deepEqual(
    (await readdir(join(installed, 'dist/types'), { recursive: true })).filter((name) => /\.(?<!\.d\.)ts$/.test(name)),
    [],
  );
});

test('the client by HTTP alone is one file under 60 kB with no module of Node in it', async () => {
  const imports = (text: string) =>
    [...text.matchAll(/(?:from|import|import\(|require\()\s*["']([^"']+)["']/g)].map(([, name]) => name);
  const [whole, text] = await Promise.all(
    ['client.js', 'client-http.js'].map((name) => readFile(join(project, 'node_modules/rollcall/dist', name), 'utf8')),
  );
  assert.ok(imports(whole ?? '').length > 0, 'the pattern finds imports');
  assert.deepEqual(imports(text ?? ''), []);
  assert.ok((text ?? '').length < 60_000, `${text?.length} characters`);
});

test('no page of the package links to a file that the package does not have', async () => {
  const installed = join(project, 'node_modules/rollcall');
  const pages = (await readdir(installed, { recursive: true })).filter((name) => name.endsWith('.md'));
  assert.ok(pages.length > 10);
  const missing: string[] = [];
  for (const page of pages) {
    const text = await readFile(join(installed, page), 'utf8');
    for (const [, link = ''] of text.matchAll(/\]\(([^()\s#]+)(?:#[^()\s]*)?\)/g)) {
      const isFile = !/^[a-z]+:/.test(link);
      if (isFile && !existsSync(join(installed, dirname(page), link))) missing.push(`${page}: ${link}`);
    }
  }
  assert.deepEqual(missing, []);
});

test('the list of licences names each package that the client has parts of, with its licence', async () => {
  const page = await readFile(join(project, 'node_modules/rollcall/dist/client.THIRD-PARTY.md'), 'utf8');
  const bundle = await readFile(join(project, 'node_modules/rollcall/dist/client.js'), 'utf8');
  const rows = page.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| package'));
  const { packages } = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8'));
  assert.ok(rows.length > 0);
  for (const row of rows) {
    const [, name = '', version = '', licence = ''] = row.split('|').map((cell) => cell.trim());
    assert.equal(packages[`node_modules/${name}`]?.version, version, row);
    assert.equal(packages[`node_modules/${name}`]?.license, licence, row);
  }
  // What is in there without doubt.
  assert.ok(bundle.includes('grpc-node-js/'));
  assert.ok(rows.some((row) => row.startsWith('| @grpc/grpc-js |')));
  assert.match(page, /Apache License\n/);
  assert.match(page, /The above copyright notice and this permission notice shall be included/);
});

test('the example follows an agent by its URL on each Node, by either entry', async (t) => {
  const fleet = await startFleet(t, 2);
  const store = `sqlite:${join(fleet.dir, 'roll.db')}`;
  const start = async (n: number) => startRollcall(t, ['agent', '--store', store], await fleet.environment(n));
  const url = await agentUrl(await start(1));
  await until('it is ready', PATIENCE_MS, async () => (await fetch(`${url}/readyz`)).ok);
  const example = await readFile(join(ROOT, 'examples/watch.mjs'), 'utf8');
  await writeFile(join(project, 'watch.mjs'), example);
  await writeFile(join(project, 'watch-http.mjs'), example.replace("'rollcall/client'", "'rollcall/client/http'"));
  const both = Object.keys(NODES).flatMap((major) => [
    { major, script: 'watch.mjs' },
    { major, script: 'watch-http.mjs' },
  ]);
  const followers = both.map(({ major, script }) => {
    const { child, pid } = startOwned(t, [nodeOf(major), join(project, script), url], CLEAN_ENV, 'KILL');
    const output = { text: '' };
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output.text += chunk));
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
    return { major, pid, output, ended };
  });
  const all = async (line: string) => {
    for (const { major, output } of followers) {
      await until(`Node ${major} prints "${line}"`, PATIENCE_MS, () => {
        assert.doesNotMatch(output.text, /Error/, `Node ${major}`);
        return output.text.includes(line);
      });
    }
  };
  await all('following 1 nodes');
  // As in a browser, or in a worker of a content network: without `process`, streams without an iterator, fetch replaced.
  await writeFile(join(project, 'bare.mjs'), BARE);
  const { stdout } = await run(nodeOf('20'), [join(project, 'bare.mjs'), url], { env: CLEAN_ENV });
  assert.equal(stdout, `1 true ${fleet.instanceIds[0]} rollcall.instance.registered\n`);
  const second = await start(2);
  await all(`rollcall.instance.registered ${fleet.instanceIds[1]}`);
  second.child.kill('SIGTERM');
  await all(`rollcall.instance.departed ${fleet.instanceIds[1]}`);
  for (const { pid, ended, output } of followers) {
    process.kill(pid, 'SIGINT');
    assert.equal(await ended, 0, output.text);
  }
});

const BARE = `import { connect } from 'rollcall/client/http';
const { argv, stdout } = process;
delete ReadableStream.prototype[Symbol.asyncIterator];
delete ReadableStream.prototype.values;
delete globalThis.process;
const client = connect(argv[2]);
let asked = 0;
const real = globalThis.fetch;
globalThis.fetch = (...request) => { asked += 1; return real(...request); };
const { containerInstances } = await client.list();
const one = await client.get(containerInstances[0].ec2InstanceId);
for await (const event of client.watch()) {
  const seen = [containerInstances.length, asked > 2, one.containerInstance.ec2InstanceId, event.type];
  stdout.write(seen.join(' ') + '\\n');
  break;
}
await client.close();
`;

for (const [module, moduleResolution] of [
  ['nodenext', 'nodenext'],
  ['node16', 'node16'],
  ['esnext', 'bundler'],
] as const) {
  test(`it compiles in another strict project with moduleResolution ${moduleResolution}, and runs`, async () => {
    const compilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      noEmit: true,
      target: 'es2023',
      lib: ['es2023'],
      module,
      moduleResolution,
      types: ['node'],
      typeRoots: [join(ROOT, 'test/node_modules/@types')],
    };
    await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));
    await writeFile(join(project, 'consumer.ts'), CONSUMER);
    const tsc = join(ROOT, 'test/node_modules/typescript/bin/tsc');
    await run(process.execPath, [tsc, '-p', project]).catch((error) => assert.fail(error.stdout));
    const { stdout } = await run(process.execPath, [join(project, 'consumer.ts')], { env: CLEAN_ENV, timeout: 60_000 });
    assert.equal(stdout, 'UsageError AgentError true\nAgentError UsageError\n');
  });
}

test('a program that was bundled as CommonJS with it reads etcd on each Node', async () => {
  const contents = `import { connect } from 'rollcall/client';
    const client = connect('etcd://127.0.0.1:1');
    client.list().catch((error) => client.close().then(() => console.log(error.name)));`;
  const outfile = join(project, 'bundled.cjs');
  const stdin = { contents, resolveDir: project };
  const { warnings } = await build({
    stdin,
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    logLevel: 'silent',
  });
  assert.deepEqual(warnings, []);
  for (const major of Object.keys(NODES)) {
    const { stdout } = await run(nodeOf(major), [outfile], { env: CLEAN_ENV, timeout: 60_000 });
    assert.equal(stdout, 'StoreError\n', `Node ${major}`);
  }
  // webpack replaces what it knows of these; by hand, webpack 5 was tried with both of its formats.
  const client = await readFile(join(project, 'node_modules/rollcall/dist/client.js'), 'utf8');
  assert.doesNotMatch(client, /createRequire|import\.meta/);
});

test('the program says that an older Node is too old for it', async () => {
  const bundle = join(ROOT, 'dist/rollcall.cjs');
  for (const major of ['20', '22']) {
    const old = await run(nodeOf(major), [bundle, '--version']).catch((error) => error);
    assert.deepEqual([old.code, old.stdout], [1, '']);
    assert.match(
      old.stderr,
      new RegExp(`^rollcall: this is Node ${major}\\.\\S+, and rollcall needs Node 24 or later\n$`),
    );
  }
});

/** What the types promise: each event narrows by its type, and a wrong use does not compile. */
const CONSUMER = `
import { AgentError, applyEvent, connect, type InstanceJson, UsageError, type WatchedEvent } from 'rollcall/client';
import { connect as connectHttp, type FleetStatus, type HttpClient } from 'rollcall/client/http';

export function describe(event: WatchedEvent): string | null {
  switch (event.type) {
    case 'rollcall.instance.lost':
      return event.subject + event.data.record.ec2InstanceId + event.data.presence.state;
    case 'rollcall.instance.forgotten': {
      const none: null = event.data.record;
      return none ?? event.data.previous?.privateIpAddress ?? event.subject;
    }
    case 'rollcall.roll.synced':
      return event.data.instanceIds.join();
    case 'rollcall.roll.uncertain':
      return String(event.data.vanished / event.data.nodes);
    case 'rollcall.audit.difference':
    case 'rollcall.audit.resolved':
      return (event.data.instanceId ?? '') + event.data.reason;
    case 'rollcall.roll.certain':
      // @ts-expect-error: it is about no instance
      return event.data.record;
    default: {
      const type: 'registered' | 'restarted' | 'updated' | 'health' | 'interruption' | 'recovered' | 'departed' extends infer Kind
        ? Kind extends string ? \`rollcall.instance.\${Kind}\` : never : never = event.type;
      return type + event.data.record.health.status;
    }
  }
}

export async function follow(url: string): Promise<void> {
  const roll = new Map<string, InstanceJson>();
  const watch = connect(url).watch({ types: ['lost', 'rollcall.roll.synced'], cluster: 'a', since: null });
  for await (const event of watch) applyEvent(roll, event);
  const cursor: string | null = watch.cursor;
  // @ts-expect-error: there is no such type
  connect(url, { massLoss: null }).watch({ types: ['gone'], since: cursor });
}

let thrown: unknown;
try {
  connect('nonsense');
} catch (error) {
  thrown = error;
}
const client = connect('http://127.0.0.1:9');
const refused: unknown = await client.list({ presence: 'all' }).catch((error: unknown) => error);
await client.close();
const names = [thrown, refused].map((error) => (error instanceof Error ? error.name : 'none'));
console.log(...names, thrown instanceof UsageError && refused instanceof AgentError && refused.retryable);

const http: HttpClient = connectHttp('http://127.0.0.1:9', { token: async () => 'secret', fetch });
const counted = http.status({ cluster: 'demo' }).then((status: FleetStatus) => status.nodes.present);
const gone = await counted.catch((error: unknown) => error);
const wrong = await http.get('x').then((one) => one?.containerInstance.health.status, (error: unknown) => error);
// @ts-expect-error: it reads no store
connectHttp('http://127.0.0.1:9', { caFile: 'ca.pem' });
await http.close();
console.log(...[gone, wrong].map((error) => (error instanceof Error ? error.name : 'none')));
`;
