import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { listCommand } from '../../src/cli/list.ts';
import { testContext } from '../support/run-in-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

test('of all that an operator’s shell may have for list, the scripts keep the store and how to reach it', () => {
  const { options } = listCommand(testContext({ stdout: '', stderr: '' }));
  const names = options.flatMap(({ envVar }) => envVar ?? []);
  assert.ok(names.length > 20, names.join());
  const script = `set -euo pipefail; script=here root=${ROOT}
    . scripts/lib/common.sh
    choose_roll ''
    env`;
  const env = { PATH: process.env['PATH'], ...Object.fromEntries(names.map((name) => [name, 'x'])) };
  const { status, stdout, stderr } = spawnSync('bash', ['-c', script], { cwd: ROOT, env, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const kept = names.filter((name) => new RegExp(`^${name}=x$`, 'm').test(stdout));
  assert.deepEqual(kept.toSorted(), names.filter((name) => /^ROLLCALL_(STORE$|TIMEOUT$|ETCD_)/.test(name)).toSorted());
});
