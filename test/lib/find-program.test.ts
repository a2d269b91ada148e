import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findProgram } from '../../src/lib/find-program.ts';

test('the first executable file on the path is found; folders and plain files are passed over', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-programs-'));
  try {
    await Promise.all(['a', 'b', 'c'].map((name) => mkdir(join(dir, name))));
    await mkdir(join(dir, 'a', 'check'));
    await writeFile(join(dir, 'b', 'check'), 'not executable');
    await writeFile(join(dir, 'c', 'check'), '#!/bin/sh\n');
    await chmod(join(dir, 'b', 'check'), 0o644);
    await chmod(join(dir, 'c', 'check'), 0o755);
    const path = ['a', 'b', '', 'none', 'c'].map((name) => name && join(dir, name)).join(':');
    assert.equal(findProgram('check', path), join(dir, 'c', 'check'));
    assert.equal(findProgram('missing', path), null);
    assert.equal(findProgram('check', undefined), null);
    assert.equal(findProgram('', path), null);
    assert.equal(findProgram(join(dir, 'c', 'check'), ''), join(dir, 'c', 'check'));
    assert.equal(findProgram(join(dir, 'c'), ''), null);
    assert.equal(findProgram(join(dir, 'none', 'check'), path), null);
  } finally {
    await rm(dir, { recursive: true });
  }
});
