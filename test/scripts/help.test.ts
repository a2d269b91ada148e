import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** rollcall's own help comes from the program, which has to be built first. */
const OF_THE_PROGRAM = 'rollcall';

test('every script explains itself on 80 columns in a fresh checkout, without setting it up', async (t) => {
  const checkout = await mkdtemp(join(tmpdir(), 'rollcall-help-'));
  t.after(() => rm(checkout, { recursive: true }));
  await cp(`${ROOT}/scripts`, `${checkout}/scripts`, { recursive: true });
  const names = (await readdir(`${checkout}/scripts`)).filter((name) => !/\.|^lib$/.test(name));
  assert.ok(names.length >= 8, names.join());
  for (const name of names.filter((each) => each !== OF_THE_PROGRAM)) {
    for (const flag of ['-h', '--help']) {
      const { stdout, stderr } = await run(`${checkout}/scripts/${name}`, [flag], { timeout: 60_000 });
      assert.match(stdout, new RegExp(`^Usage: scripts/${name}\\b`), name);
      assert.equal(stderr, '', name);
      assert.deepEqual(
        stdout.split('\n').filter((line) => [...line].length > 80),
        [],
        name,
      );
    }
  }
  assert.deepEqual(await readdir(checkout), ['scripts']);
});

test('the help of scripts/bench names each benchmark', async () => {
  const [, list = ''] =
    /^const BENCHMARKS[^=]*= \[(.*)\];$/m.exec(await readFile(`${ROOT}/bench/main.ts`, 'utf8')) ?? [];
  const { stdout } = await run(`${ROOT}/scripts/bench`, ['--help']);
  assert.match(stdout.replace(/\s+/g, ' '), new RegExp(` BENCHMARK ${list}; default: all `));
});
