import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { lockFile } from '../../src/lib/lock-file.ts';

test('one process holds the lock at a time, in an empty file that stays', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'lock-file-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const path = join(dir, 'x.lock');
  const release = await lockFile(path);
  assert.equal(await lockFile(path), null);
  release?.();
  const again = await lockFile(path);
  assert.notEqual(again, null);
  again?.();
  assert.equal(statSync(path).size, 0);
});

test('a lock file that cannot be made is named with its cause', async () => {
  await assert.rejects(lockFile('/proc/x.lock'), { message: /^E[A-Z]+: .*'\/proc\/x\.lock'$/ });
});
