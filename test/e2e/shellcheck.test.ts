import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SCRIPTS = ['bench', 'demo', 'deploy', 'rollcall', 'setup', 'undeploy'];
const LIBRARIES = readdirSync(`${ROOT}/scripts/lib`).filter((name) => name.endsWith('.sh'));

for (const path of [...SCRIPTS, ...LIBRARIES.map((name) => `lib/${name}`)].map((name) => `scripts/${name}`)) {
  test(`${path} is clean in shellcheck’s eyes`, () => {
    const { status, stdout, error } = spawnSync('shellcheck', ['--external-sources', path], { cwd: ROOT });
    assert.equal(status, 0, String(error ?? stdout));
  });
}

test('shellcheck sees what is wrong', () => {
  const wrong = '#!/bin/bash\nset -eu\ncat $1\n';
  assert.throws(() => execFileSync('shellcheck', ['-'], { input: wrong, stdio: 'pipe' }));
});
