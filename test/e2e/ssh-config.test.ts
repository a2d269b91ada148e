import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CLEAN_ENV } from '../support/rollcall-process.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

const SCRIPT = fileURLToPath(new URL('../../examples/ssh-config', import.meta.url));

/** The example with a stand-in of `rollcall` that prints these nodes, or fails. */
async function example(t: TestContext, nodes: readonly object[], status = 0) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-ssh-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, 'roll.json'), JSON.stringify({ containerInstances: nodes, revision: '7' }));
  await writeFile(
    join(dir, 'rollcall'),
    `#!/bin/sh\n[ "$*" = 'list -o json --cluster demo' ] || exit 9\ncat ${dir}/roll.json\nexit ${status}\n`,
  );
  await chmod(join(dir, 'rollcall'), 0o755);
  const run = (file: string, args: readonly string[]) =>
    new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
      const env = { ...CLEAN_ENV, ROLLCALL: join(dir, 'rollcall') };
      const child = execFile(file, [...args], { env, timeout: 30_000 }, (_, stdout, stderr) =>
        resolve({ code: child.exitCode, stdout, stderr }),
      );
    });
  return { dir, run, made: await run(SCRIPT, ['--cluster', 'demo']) };
}

const node = (n: number, overrides: object = {}) => ({
  ...sampleRecord({ ec2InstanceId: sampleInstanceId(n), privateIpAddress: `10.0.0.${n}` }),
  ...overrides,
});

test('ssh reads the configuration that examples/ssh-config makes, and hostile text does not get into it', async (t) => {
  const evil = 'ProxyCommand touch /tmp/evil';
  const { dir, run, made } = await example(t, [
    node(1),
    node(2, { privateIpAddress: 'fd00::2' }),
    node(3, { privateIpAddress: `10.0.0.3\n  ${evil}` }),
    node(4, { ec2InstanceId: `i-00000004\n  ${evil}` }),
    node(5, { ec2InstanceId: '*' }),
    node(6, { privateIpAddress: null, labels: { role: evil } }),
    node(7, { privateIpAddress: '10.0.0.7 \n' }),
    node(8, { privateIpAddress: '-oProxyCommand=x' }),
  ]);
  assert.deepEqual([made.code, made.stderr], [0, '']);
  assert.deepEqual(made.stdout.match(/^Host .*$/gm), ['Host i-00000001', 'Host i-00000002']);
  assert.doesNotMatch(made.stdout, /evil|Proxy|\*/);
  const config = join(dir, 'config');
  await writeFile(config, made.stdout);
  for (const [name, address] of [
    ['i-00000001', '10.0.0.1'],
    ['i-00000002', 'fd00::2'],
    ['i-00000003', 'i-00000003'],
  ] as const) {
    const { code, stdout, stderr } = await run('ssh', ['-G', '-F', config, name]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, new RegExp(`^hostname ${address}$`, 'm'));
    assert.doesNotMatch(stdout, /^proxycommand/m);
  }
});

test('where the roll cannot be read examples/ssh-config fails and prints nothing', async (t) => {
  const { made } = await example(t, [node(1)], 1);
  assert.deepEqual([made.code, made.stdout], [1, '']);
});
