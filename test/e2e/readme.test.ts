import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { handlerEnvironment } from '../../src/cli/watch/handler.ts';
import { CLEAN_ENV, rollcall } from '../support/rollcall-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BLOCK_LIMIT_MS = 150_000;
const README = await readFile(`${ROOT}/README.md`, 'utf8');

/** Every block that is marked to be run, under the heading it stands below. */
const blocks = [...README.matchAll(/^<!-- run -->\n```sh\n(.*?)^```$/gms)].map(({ 1: script = '', index }) => ({
  heading:
    README.slice(0, index)
      .match(/^## .*$/gm)
      ?.at(-1)
      ?.slice(3) ?? '',
  script,
}));

/** Runs a block as a script; what it leaves behind when it fails goes with its process group and its temporary folder. */
async function runBlock(script: string): Promise<{ code: number | null; output: string }> {
  const scratch = await mkdtemp(join(tmpdir(), 'rollcall-readme-'));
  const options = { cwd: ROOT, env: { ...CLEAN_ENV, TMPDIR: scratch }, detached: true };
  const child = spawn('bash', ['-euo', 'pipefail', '-c', script], options);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const kill = () => {
    try {
      process.kill(-(child.pid ?? 0), 'SIGKILL');
    } catch {} // nobody of the group is left
  };
  process.once('exit', kill);
  const timer = setTimeout(kill, BLOCK_LIMIT_MS);
  const [code] = await once(child, 'exit');
  clearTimeout(timer);
  kill();
  process.removeListener('exit', kill);
  await rm(scratch, { recursive: true, force: true });
  return { code, output };
}

/**
 * The block with its ports, 21000 to 21999, moved to a thousand that no other run on this machine has: whoever holds the
 * last port of a thousand has all of it.
 */
async function withOwnPorts(t: TestContext, script: string): Promise<string> {
  for (let thousand = 10; thousand < 21; thousand += 1) {
    const claim = createServer().listen(thousand * 1_000 + 999, '127.0.0.1');
    t.after(() => claim.close());
    if (await once(claim, 'listening').catch(() => null)) return script.replace(/\b21(?=\d{3}\b)/g, `${thousand}`);
  }
  assert.fail('every thousand of ports from 10000 to 20999 is taken');
}

for (const { heading, script } of blocks) {
  test(`the commands of the README work as they stand there: ${heading}`, async (t) => {
    const { code, output } = await runBlock(await withOwnPorts(t, script));
    assert.equal(code, 0, output);
    assert.doesNotMatch(output, /command not found|warning: skipped/);
  });
}

test('the README has blocks that are run, among them list, show, jq and curl', () => {
  assert.ok(blocks.length >= 3, `${blocks.length} blocks`);
  for (const command of ['rollcall list', 'rollcall show', 'jq', 'curl', 'rollcall simulate']) {
    assert.ok(
      blocks.some(({ script }) => script.includes(command)),
      command,
    );
  }
});

test('the README shows the example for Node programs as it is tested', async () => {
  assert.ok(README.includes(`\`\`\`js\n${await readFile(`${ROOT}/examples/watch.mjs`, 'utf8')}\`\`\``));
});

test('the README and docs/events.md name only variables that a handler of events gets', async () => {
  const event = { kind: 'certain', revision: '1', part: 0, returned: 0, lost: 0 } as const;
  const given = Object.keys(handlerEnvironment(event, { id: '1/certain' }));
  const named = `${README}${await readFile(`${ROOT}/docs/events.md`, 'utf8')}`.match(/ROLLCALL_EVENT_[A-Z_]+/g) ?? [];
  assert.deepEqual([...new Set(named)].sort(), given.sort());
});

test('the README and the help texts name the same flags and variables', async () => {
  const helps = await Promise.all(
    ['agent', 'list', 'show', 'watch', 'audit', 'place', 'health', 'simulate'].map((name) =>
      rollcall([name, '--help']),
    ),
  );
  const options = helps.flatMap(({ stdout }) => stdout.replace(/^Examples:.*/ms, ''));
  const found = (texts: readonly string[], pattern: RegExp) =>
    [...new Set(texts.flatMap((text) => text.match(pattern) ?? []))].sort();
  const chapter = /^## Flags and variables$.*?^## /ms.exec(README)?.[0] ?? '';
  const tables = chapter.split('\n').filter((line) => line.startsWith('|'));

  const flags = found(options, /(?<=^ {2}(?:-\w, )?)--[a-z0-9-]+/gm);
  assert.ok(flags.length > 20, flags.join());
  assert.deepEqual(found(tables, /--[a-z][a-z0-9-]+/g), flags);
  // The password is hidden in the help: a flag would show it in every process list.
  const variables = [...found(options, /ROLLCALL_[A-Z0-9_]+/g), 'ROLLCALL_ETCD_PASSWORD'].sort();
  // What a handler of events gets is not ours to set; the unit's own two are for its shell.
  const others = /^ROLLCALL_(EVENT_.*|IMAGE|DOCKER_ARGS)$/;
  const settings = (names: readonly string[]) => names.filter((name) => !others.test(name));
  assert.deepEqual(settings(found([README], /ROLLCALL_[A-Z0-9_]+/g)), settings(variables));
});
