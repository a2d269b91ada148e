import assert from 'node:assert/strict';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { encodeCursor, openCursorFile, parseCursor } from '../../../src/cli/watch/cursor-file.ts';
import { RollcallError, UsageError } from '../../../src/lib/errors.ts';

describe('cursor file', () => {
  const CURSOR = { store: 'store-1', revision: '17' };

  async function folder(t: TestContext): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'rollcall-cursor-'));
    t.after(() => rm(path, { recursive: true, force: true }));
    return path;
  }

  test('a written cursor is read at the next start, and only its lock file is beside it', async (t) => {
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

  test('a failed write keeps the old cursor whole', async (t) => {
    const path = join(await folder(t), 'a.cursor');
    const file = await openCursorFile(path);
    t.after(() => file.release());
    await file.write(CURSOR);
    // A folder at the path of the temporary file.
    await mkdir(join(path, '..', '.a.cursor.next'));
    await assert.rejects(file.write({ ...CURSOR, revision: '18' }));
    assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), { version: 1, ...CURSOR });
  });

  test('a second watch on the same file is refused until the first has released it', async (t) => {
    const path = join(await folder(t), 'a.cursor');
    const first = await openCursorFile(path);
    await assert.rejects(openCursorFile(path), (error: Error) => {
      assert.ok(error instanceof RollcallError && !(error instanceof UsageError));
      assert.match(
        error.message,
        /a\.cursor: another rollcall watch holds .*a\.cursor\.lock; use a separate cursor file/,
      );
      return true;
    });
    first.release();
    (await openCursorFile(path)).release();
  });

  test('a symbolic link stays, and the file it points to is replaced', async (t) => {
    const dir = await folder(t);
    await writeFile(join(dir, 'real'), `${JSON.stringify({ version: 1, ...CURSOR })}\n`);
    await symlink('real', join(dir, 'link'));
    const file = await openCursorFile(join(dir, 'link'));
    await file.write({ ...CURSOR, revision: '99' });
    file.release();
    assert.ok((await lstat(join(dir, 'link'))).isSymbolicLink());
    assert.match(await readFile(join(dir, 'real'), 'utf8'), /"99"/);
  });

  test('a file that is not a cursor is refused with its path, is not changed, and its lock is released', async (t) => {
    const path = join(await folder(t), 'a.cursor');
    for (const text of ['', '{"version":1,"sto', 'dear diary', '{"version":7}', 'x'.repeat(5_000)]) {
      await writeFile(path, text);
      await assert.rejects(openCursorFile(path), (error: Error) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, /a\.cursor: .*; remove the file to start with a snapshot, or use another file$/);
        assert.ok(error.message.length < 400);
        return true;
      });
      assert.equal(await readFile(path, 'utf8'), text);
    }
    await rm(path);
    (await openCursorFile(path)).release();
  });

  test('a path that cannot hold a cursor is refused: a missing folder, a folder, a device, a read-only folder', async (t) => {
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
});

describe('parse cursor', () => {
  const CURSOR = { store: 'cdf818194e3a8c32/rollcall', revision: '9007199254740993' };

  test('a written cursor is read back, also with revisions beyond the integers of a number', () => {
    for (const cursor of [CURSOR, { ...CURSOR, revision: null }]) {
      assert.deepEqual(parseCursor(encodeCursor(cursor)), cursor);
    }
  });

  test('a file that is truncated anywhere is refused', () => {
    const text = encodeCursor(CURSOR).trimEnd();
    for (let length = 0; length < text.length; length += 1) {
      assert.ok('refusal' in parseCursor(text.slice(0, length)), `cut to ${length} characters`);
    }
  });

  test('a refusal names the cause and the value', () => {
    const refusals: [string, RegExp][] = [
      ['', /^it is empty$/],
      [' \n', /^it is empty$/],
      ['hello\u001b[31m', /not JSON, or truncated: "hello\?\[31m"/],
      ['[1]', /it has no cursor: "\[1\]"/],
      ['null', /it has no cursor: "null"/],
      ['{"store":"s","revision":"1"}', /its version is missing, but this rollcall reads version 1/],
      ['{"version":2,"store":"s","revision":"1"}', /its version is "2", but this rollcall reads version 1/],
      ['{"version":1,"revision":"1"}', /its store is missing/],
      ['{"version":1,"store":"","revision":"1"}', /its store is "", not a store id/],
      ['{"version":1,"store":"s","revision":"-1"}', /its revision is "-1", not a whole number/],
      ['{"version":1,"store":"s","revision":12}', /its revision is "12", .* as text/],
      [
        '{"version":1,"store":"s","revision":"9223372036854775808"}',
        /not a whole number from 0 to 9223372036854775807/,
      ],
    ];
    for (const [text, pattern] of refusals) {
      const parsed = parseCursor(text);
      assert.ok('refusal' in parsed, text);
      assert.match(parsed.refusal, pattern);
      assert.ok(parsed.refusal.length < 200);
    }
  });
});
