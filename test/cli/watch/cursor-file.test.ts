import assert from 'node:assert/strict';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openCursorFile } from '../../../src/cli/watch/cursor-file.ts';
import { RollcallError, UsageError } from '../../../src/errors.ts';

const CURSOR = { store: 'store-1', revision: '17' };

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'rollcall-cursor-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test('a cursor that was written is there at the next start, and nothing but its lock lies beside it', async (t) => {
  const dir = await folder(t);
  const path = join(dir, 'a.cursor');
  const first = await openCursorFile(path);
  assert.equal(first.saved, null);
  await first.write({ ...CURSOR, revision: '16' });
  await first.write(CURSOR);
  first.release();
  assert.deepEqual((await readdir(dir)).sort(), ['a.cursor', 'a.cursor.lock']);
  assert.equal((await stat(path)).mode & 0o777, 0o644);
  const second = await openCursorFile(path);
  assert.deepEqual(second.saved, CURSOR);
  second.release();
});

test('a write that fails leaves the old cursor whole', async (t) => {
  const path = join(await folder(t), 'a.cursor');
  const file = await openCursorFile(path);
  t.after(() => file.release());
  await file.write(CURSOR);
  // In the way of the temporary file.
  await mkdir(join(path, '..', '.a.cursor.next'));
  await assert.rejects(file.write({ ...CURSOR, revision: '18' }));
  assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), { version: 1, ...CURSOR });
});

test('one file serves one watch: the second is refused until the first has released it', async (t) => {
  const path = join(await folder(t), 'a.cursor');
  const first = await openCursorFile(path);
  await assert.rejects(openCursorFile(path), (error: Error) => {
    assert.ok(error instanceof RollcallError && !(error instanceof UsageError));
    assert.match(error.message, /a\.cursor: another rollcall watch holds .*a\.cursor\.lock; give each watch/);
    return true;
  });
  first.release();
  (await openCursorFile(path)).release();
});

test('a link stays a link, and what it points to is replaced', async (t) => {
  const dir = await folder(t);
  await writeFile(join(dir, 'real'), `${JSON.stringify({ version: 1, ...CURSOR })}\n`);
  await symlink('real', join(dir, 'link'));
  const file = await openCursorFile(join(dir, 'link'));
  await file.write({ ...CURSOR, revision: '99' });
  file.release();
  assert.ok((await lstat(join(dir, 'link'))).isSymbolicLink());
  assert.match(await readFile(join(dir, 'real'), 'utf8'), /"99"/);
});

test('a file that is no cursor is refused by name, stays as it is, and its lock is given back', async (t) => {
  const path = join(await folder(t), 'a.cursor');
  for (const text of ['', '{"version":1,"sto', 'dear diary', '{"version":7}', 'x'.repeat(5_000)]) {
    await writeFile(path, text);
    await assert.rejects(openCursorFile(path), (error: Error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, /a\.cursor: .*; remove the file to begin with a snapshot, or name another$/);
      assert.ok(error.message.length < 400);
      return true;
    });
    assert.equal(await readFile(path, 'utf8'), text);
  }
  await rm(path);
  (await openCursorFile(path)).release();
});

test('a path that cannot hold a cursor is refused: no folder, a folder, a device, a folder that takes no files', async (t) => {
  const dir = await folder(t);
  const before = await stat('/dev/null');
  for (const path of [join(dir, 'none', 'a'), dir, '/dev/null', '/proc/a.cursor']) {
    await assert.rejects(openCursorFile(path), (error: Error) => {
      assert.ok(error instanceof UsageError, String(error));
      assert.ok(error.message.includes(path), error.message);
      return true;
    });
  }
  assert.equal((await stat('/dev/null')).ino, before.ino);
});
