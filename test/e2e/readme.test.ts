import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { killAtExit } from '../support/owned-process.ts';
import { CLEAN_ENV } from '../support/rollcall-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const BLOCK_LIMIT_MS = 150_000;
const PAGES = ['README.md', ...(await readdir(`${ROOT}/docs`, { recursive: true })).map((name) => `docs/${name}`)]
  .filter((path) => path.endsWith('.md'))
  .sort();
const texts = new Map<string, string>();
for (const path of PAGES) texts.set(path, await readFile(`${ROOT}/${path}`, 'utf8'));

/** Every block that is marked to be run, with its page, the heading above it and the lines that the page shows below it. */
const blocks = [...texts].flatMap(([path, text]) =>
  [...text.matchAll(/^<!-- run -->\n```sh\n(.*?)^```$(?:\n\n((?: {4}[^\n]*\n)+))?/gms)].map(
    ([, script = '', shown = ''], at, all) => {
      const heading = text.slice(0, all[at]?.index).match(/^#+ .*$/gm);
      return {
        path,
        heading: heading?.at(-1)?.replace(/^#+ /, '') ?? '',
        script,
        shown: shown.match(/(?<=^ {4}).*/gm) ?? [],
      };
    },
  ),
);

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
    } catch {} // no process of the group is left
  };
  const release = killAtExit(kill);
  const timer = setTimeout(kill, BLOCK_LIMIT_MS);
  const [code] = await once(child, 'exit');
  clearTimeout(timer);
  kill();
  release();
  await rm(scratch, { recursive: true, force: true });
  return { code, output };
}

/**
 * The block with its ports, 21000 to 21999, moved to a thousand that no other run on this machine has: the one that holds the
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

/** Without what differs from run to run. */
const settled = (text: string) => text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME');

for (const { path, heading, script, shown } of blocks) {
  test(`the commands of ${path} work: ${heading}`, async (t) => {
    const { code, output } = await runBlock(await withOwnPorts(t, script));
    assert.equal(code, 0, output);
    assert.doesNotMatch(output, /command not found|warning: skipped/);
    // What the README shows is what the program prints, line by line, among what only some runs print.
    if (path !== 'README.md') return;
    assert.notEqual(shown.length, 0);
    const printed = settled(output).split('\n');
    let from = 0;
    for (const line of shown) {
      const at = printed.indexOf(settled(line), from);
      assert.notEqual(at, -1, `not printed, or not in this order: ${line}\n${output}`);
      from = at + 1;
    }
  });
}

test('every marked block is found, among them list, show, watch, jq and curl', () => {
  const marks = [...texts.values()].flatMap((text) => text.match(/<!-- run -->/g) ?? []);
  assert.equal(blocks.length, marks.length);
  assert.ok(blocks.some(({ path, script }) => path === 'README.md' && script.startsWith('scripts/demo --once')));
  for (const command of ['rollcall list', 'rollcall show', 'rollcall watch', 'jq', 'curl', 'rollcall simulate']) {
    assert.ok(
      blocks.some(({ script }) => script.includes(command)),
      command,
    );
  }
});

test('no block leaves a variable that it exports in the shell of a reader who pastes it', () => {
  const left = blocks.flatMap(({ path, heading, script }) => {
    const unset = script.match(/(?<=\bunset )[^\n;]+/g)?.join(' ') ?? '';
    const exported = [...script.matchAll(/\bexport ([^\n;]+?)(?: +#.*)?(?:$|;)/gm)].flatMap(([, words = '']) => {
      const file = /^\$\(cat (\S+)\)$/.exec(words)?.[1];
      return file ? [`$(cut -d= -f1 ${file})`] : words.split(' ').map((word) => word.split('=')[0] ?? '');
    });
    return exported.filter((name) => !unset.includes(name)).map((name) => `${path}, ${heading}: ${name}`);
  });
  assert.deepEqual(left, []);
});

test('a block that waits for a word in a file waits without an error for the file, too', () => {
  assert.deepEqual(
    blocks.flatMap(({ path, script }) =>
      (script.match(/\bgrep -q [^|\n]*\$dir/g) ?? []).map((line) => `${path}: ${line}`),
    ),
    [],
  );
});

test('docs/reading.md has the tested example for Node programs', async () => {
  const example = await readFile(`${ROOT}/examples/watch.mjs`, 'utf8');
  assert.ok(texts.get('docs/reading.md')?.includes(`\`\`\`js\n${example}\`\`\``));
});
