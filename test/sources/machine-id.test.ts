import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readMachineId } from '../../src/sources/machine-id.ts';
import { SourceError } from '../../src/sources/source-error.ts';

const ID = '0123456789abcdef0123456789abcdef';

async function tempPath(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'machine-id-'));
  t.after(() => rm(directory, { recursive: true }));
  return join(directory, 'machine-id');
}

test('the id is read with or without a final newline', async (t) => {
  const path = await tempPath(t);
  for (const text of [`${ID}\n`, ID]) {
    await writeFile(path, text);
    assert.equal(await readMachineId(path), ID);
  }
});

test('without the file, or with one that systemd has not filled yet, there is no id and no error', async (t) => {
  const path = await tempPath(t);
  assert.equal(await readMachineId(path), null);
  for (const text of ['', 'uninitialized\n']) {
    await writeFile(path, text);
    assert.equal(await readMachineId(path), null);
  }
});

test('other content is an error that names the file', async (t) => {
  const path = await tempPath(t);
  for (const text of [ID.toUpperCase(), `${ID}0`, ID.slice(1), `${ID}\n${ID}\n`, '<html>', ID.padEnd(5_000, '0')]) {
    await writeFile(path, text);
    await assert.rejects(readMachineId(path), (error) => {
      assert.ok(error instanceof SourceError);
      assert.ok(error.message.startsWith(`machine id in ${path}: expected 32 lowercase hex digits, got "`));
      return error.message.length < path.length + 150;
    });
  }
});

test('a directory, which docker creates for a missing mount source, is an error', async (t) => {
  await assert.rejects(readMachineId(join(await tempPath(t), '..')), { name: 'SourceError', message: /EISDIR/ });
});

test('a named pipe does not block the agent', async (t) => {
  const path = await tempPath(t);
  execFileSync('mkfifo', [path]);
  assert.equal(await readMachineId(path), null);
});
