import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { hash } from 'node:crypto';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Script } from 'node:vm';
import { CLEAN_ENV, rollcall, SCRIPT } from '../support/rollcall-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const DIGESTS_BYTES = 64;
const run = promisify(execFile);

before(() => rollcall(['--version']));

/** What the build starts with, in a folder of its own. */
async function installed(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-start-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  for (const name of ['start.cjs', 'rollcall.cjs', 'rollcall.code']) {
    await copyFile(join(ROOT, 'dist', name), join(dir, name));
  }
  // Tells what becomes of the code that the program is started with.
  const hook = `const vm = require('node:vm');
vm.Script = class extends vm.Script {
  constructor(text, options) {
    super(text, options);
    console.log(options.cachedData === undefined ? 'none' : this.cachedDataRejected ? 'refused' : 'used');
  }
};`;
  await writeFile(join(dir, 'hook.cjs'), hook);
  return dir;
}

/** Starts it; gives what became of the code, and what the program printed. */
async function start(dir: string, flags: readonly string[] = [], args = ['--version']) {
  const command = [...flags, '--require', join(dir, 'hook.cjs'), join(dir, 'start.cjs'), ...args];
  const { stdout, stderr } = await run(process.execPath, command, { env: CLEAN_ENV });
  assert.equal(stderr, '');
  const [code, ...printed] = stdout.split('\n');
  return { code, printed: printed.join('\n') };
}

async function version(): Promise<string> {
  return `${JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')).version}\n`;
}

/** With the digests of the program beside it and of the code, as the build writes it. */
async function writeCode(dir: string, code: Buffer): Promise<void> {
  const digests = [await readFile(join(dir, 'rollcall.cjs')), code].map((part) => hash('sha256', part, 'buffer'));
  await writeFile(join(dir, 'rollcall.code'), Buffer.concat([...digests, code]));
}

test('V8 takes the compiled code of the build, with the flags of each command', async (t) => {
  const dir = await installed(t);
  const flags = [...(await readFile(SCRIPT, 'utf8')).matchAll(/flags\+?=\((.*)\)/g)].map(([, words = '']) =>
    words.split(' '),
  );
  assert.ok(flags.length >= 3, 'the flags of scripts/rollcall');
  for (const some of [[], ...flags]) {
    assert.deepEqual(await start(dir, some), { code: 'used', printed: await version() }, some.join(' '));
  }
});

test('the compiled code has what a start calls, not only what V8 compiles at once', async () => {
  const text = await readFile(join(ROOT, 'dist/rollcall.cjs'), 'latin1');
  const atOnce = new Script(`(function () {//${text}\n})`).createCachedData();
  const { length } = await readFile(join(ROOT, 'dist/rollcall.code'));
  assert.ok(length > 2 * atOnce.length, `${length} bytes; at once ${atOnce.length}`);
});

const DAMAGES: Readonly<Record<string, readonly [code: 'none' | 'refused', damage: (dir: string) => Promise<void>]>> = {
  missing: ['none', (dir) => rm(join(dir, 'rollcall.code'))],
  empty: ['none', (dir) => writeFile(join(dir, 'rollcall.code'), '')],
  'cut off': [
    'none',
    async (dir) => {
      const whole = await readFile(join(dir, 'rollcall.code'));
      await writeFile(join(dir, 'rollcall.code'), whole.subarray(0, whole.length - 1));
    },
  ],
  damaged: [
    'none',
    async (dir) => {
      const bytes = await readFile(join(dir, 'rollcall.code'));
      bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1);
      await writeFile(join(dir, 'rollcall.code'), bytes);
    },
  ],
  "another program's of the same length": [
    'none',
    async (dir) => {
      const text = await readFile(join(dir, 'rollcall.cjs'), 'utf8');
      const other = text.replace('needs Node 24', 'wants Node 24');
      assert.notEqual(other, text);
      await writeFile(join(dir, 'rollcall.cjs'), other);
    },
  ],
  "another V8's": [
    'refused',
    async (dir) => {
      const code = (await readFile(join(dir, 'rollcall.code'))).subarray(DIGESTS_BYTES);
      // Behind the number that tells what the file is; the version of V8 is hashed to four bytes.
      code.writeUInt8(code.readUInt8(4) ^ 1, 4);
      await writeCode(dir, code);
    },
  ],
};

for (const [what, [code, damage]] of Object.entries(DAMAGES)) {
  test(`where the compiled code is ${what} the program starts without it and says nothing`, async (t) => {
    const dir = await installed(t);
    await damage(dir);
    assert.deepEqual(await start(dir), { code, printed: await version() });
  });
}

test('an error names the line of the program that threw it', async (t) => {
  const dir = await installed(t);
  const text = await readFile(join(dir, 'rollcall.cjs'), 'utf8');
  await writeFile(join(dir, 'rollcall.cjs'), text.replace('\n', '\nconsole.log(new Error().stack.split("\\n")[1]);'));
  const { printed } = await start(dir);
  assert.match(printed, new RegExp(`^ +at .*${join(dir, 'rollcall.cjs')}:2:\\d+`));
});
