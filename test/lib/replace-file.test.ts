import assert from 'node:assert/strict';
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { replaceFile } from '../../src/lib/replace-file.ts';

async function setUp(t: TestContext) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-replace-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const path = join(dir, 'file');
  return { dir, path, next: join(dir, '.file.next'), mode: async () => (await stat(path)).mode & 0o777 };
}

test('what a crash left at its temporary name is removed', async (t) => {
  const { dir, path, next } = await setUp(t);
  await writeFile(next, 'left over, and longer');
  await replaceFile(path, 'new');
  assert.equal(await readFile(path, 'utf8'), 'new');
  assert.deepEqual(await readdir(dir), ['file']);
});

test('a symbolic link at its temporary name is not followed', async (t) => {
  const { dir, path, next } = await setUp(t);
  const other = join(dir, 'other');
  await writeFile(other, 'of another program');
  await symlink(other, next);
  await replaceFile(path, 'new');
  assert.equal(await readFile(other, 'utf8'), 'of another program');
  assert.ok((await lstat(path)).isFile());
  assert.equal(await readFile(path, 'utf8'), 'new');
});

test('the file keeps its mode; a new one has the given mode, or that of the umask', async (t) => {
  const { path, mode } = await setUp(t);
  const before = process.umask(0o077);
  t.after(() => process.umask(before));
  await replaceFile(path, 'a');
  assert.equal(await mode(), 0o600);
  await replaceFile(path, 'b', 0o644);
  assert.equal(await mode(), 0o600);
  await chmod(path, 0o664);
  await replaceFile(path, 'c');
  assert.equal(await mode(), 0o664);
  await rm(path);
  await replaceFile(path, 'd', 0o644);
  assert.equal(await mode(), 0o644);
});

test('a file that cannot be replaced leaves nothing beside it', async (t) => {
  const { dir, path } = await setUp(t);
  await mkdir(path);
  await assert.rejects(replaceFile(path, 'new'), { code: 'EISDIR' });
  assert.deepEqual(await readdir(dir), ['file']);
});
