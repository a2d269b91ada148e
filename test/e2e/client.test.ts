import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { until } from '../support/machine-time.ts';
import { agentUrl, CLEAN_ENV, PATIENCE_MS, startFleet, startRollcall } from '../support/rollcall-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const EXAMPLE = join(ROOT, 'examples/watch.mjs');
const NODE = process.execPath;
const TTL_MS = 3_000;
const run = promisify(execFile);

/** The example as a reader would start it; the test's end kills what is left of it. */
function startExample(t: TestContext, url: string) {
  const child = spawn(NODE, [EXAMPLE, url], { cwd: ROOT, env: CLEAN_ENV, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => (output.stdout += chunk));
  child.stderr.on('data', (chunk) => (output.stderr += chunk));
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, ended, output };
}

test('the example follows real agents from the store and over HTTP, and ends at Ctrl-C', async (t) => {
  const fleet = await startFleet(t, 3);
  const [a = '', b = '', c = ''] = fleet.instanceIds;
  const store = `sqlite:${join(fleet.dir, 'roll.db')}`;
  const start = async (n: number) => {
    const env = await fleet.environment(n);
    return startRollcall(t, ['agent', '--store', store, '--presence-ttl', `${TTL_MS / 1_000}s`], env);
  };
  const first = await start(1);
  const url = await agentUrl(first); // it makes the store
  const [second, third] = [await start(2), await start(3)];
  await until('three are ready', PATIENCE_MS, async () =>
    (await Promise.all([url, await agentUrl(second), await agentUrl(third)].map((at) => fetch(`${at}/readyz`)))).every(
      ({ ok }) => ok,
    ),
  );

  const examples = [startExample(t, store), startExample(t, url)];
  const told = async (line: string) => {
    for (const { output } of examples) {
      await until(`"${line}" is told`, PATIENCE_MS, () => {
        assert.doesNotMatch(output.stderr, /Error:/);
        return `\n${output.stdout}`.includes(`\n${line}`);
      });
    }
  };
  await told('following 3 nodes');
  for (const id of [a, b, c]) await told(`${id} is passing`);

  second.child.kill('SIGTERM');
  await told(`rollcall.instance.departed ${b}`);
  third.child.kill('SIGKILL');
  await told(`${c} is lost: 10.`);
  await start(3);
  await told(`rollcall.instance.recovered ${c}`);

  for (const { child, ended, output } of examples) {
    child.kill('SIGINT');
    assert.equal(await ended, 0, output.stderr);
  }
});

test('the packed package compiles and runs in another strict project', async (t) => {
  const project = await mkdtemp(join(tmpdir(), 'rollcall-consumer-'));
  t.after(() => rm(project, { recursive: true, force: true }));
  const installed = join(project, 'node_modules/rollcall');
  await mkdir(installed, { recursive: true });
  const pack = ['pack', '--silent', '--ignore-scripts', '--pack-destination', project];
  const { stdout: packed } = await run('npm', pack, { cwd: ROOT, env: CLEAN_ENV });
  await run('tar', ['-xzf', join(project, packed.trim()), '-C', installed, '--strip-components=1']);
  const compilerOptions = {
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
    target: 'es2024',
    lib: ['es2024'],
    module: 'nodenext',
    types: ['node'],
    typeRoots: [join(ROOT, 'test/node_modules/@types')],
  };
  await writeFile(join(project, 'package.json'), '{"type":"module"}');
  await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['consumer.ts'] }));
  await writeFile(join(project, 'consumer.ts'), CONSUMER);
  const tsc = join(ROOT, 'test/node_modules/typescript/bin/tsc');
  await run(NODE, [tsc, '-p', project]).catch((error) => assert.fail(error.stdout));
  const { stdout } = await run(NODE, [join(project, 'consumer.ts')], { env: CLEAN_ENV, timeout: 60_000 });
  assert.equal(stdout, 'UsageError AgentError true\n');
});

/** What the types promise: each event narrows by its type, and a wrong use does not compile. */
const CONSUMER = `
import { AgentError, applyEvent, connect, type InstanceJson, UsageError, type WatchedEvent } from 'rollcall/client';

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
`;
