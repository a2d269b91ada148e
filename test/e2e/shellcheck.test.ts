import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SCRIPTS = readdirSync(`${ROOT}/scripts`, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && !/\.([cm]js|ts)$/.test(entry.name))
  .map(({ parentPath, name }) => relative(ROOT, `${parentPath}/${name}`));

for (const path of [...SCRIPTS, '.ci/run', 'test/host/prepare', 'test/store/etcd/prepare']) {
  test(`shellcheck accepts ${path}`, () => {
    const { status, stdout, error } = spawnSync('shellcheck', ['--external-sources', path], { cwd: ROOT });
    assert.equal(status, 0, String(error ?? stdout));
  });
}

test('shellcheck finds a mistake', () => {
  const wrong = '#!/bin/bash\nset -eu\ncat $1\n';
  assert.throws(() => execFileSync('shellcheck', ['-'], { input: wrong, stdio: 'pipe' }));
});
