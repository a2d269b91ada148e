import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { until } from '../support/machine-time.ts';
import { settings } from './fleet-faults.ts';

const LIMIT_MS = 20_000;
const unit = settings(await readFile(new URL('../../units/rollcall.service', import.meta.url), 'utf8'));
const command = unit.find(({ name }) => name === 'ExecStart')?.value ?? '';
/** As systemd hands it to bash. */
const script =
  /^\/bin\/bash -c '(.*)'$/.exec(command)?.[1]?.replaceAll('$$', '$').replaceAll('%n', 'rollcall.service') ?? '';

interface Docker {
  /** What `docker kill` does, the first time, the second …; the last one stands for all that follow. */
  readonly kills: readonly ('ends' | 'has no effect' | 'fails')[];
  readonly jobs?: string;
}

/** The unit's shell, with a docker whose client runs until its container has ended. Stopped as soon as that runs. */
async function stopped(t: TestContext, { kills, jobs = '' }: Docker): Promise<readonly string[]> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-unit-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const [calls, ended] = [join(dir, 'calls'), join(dir, 'ended')];
  const docker = `#!/bin/bash
    if [ "$1" = run ]; then
      echo run >>${calls}; while [ -d ${dir} ] && ! [ -e ${ended} ]; do sleep 0.05; done; exit
    fi
    echo "$*" >>${calls}; how=(${kills.map((kill) => `'${kill}'`).join(' ')})
    n=$(($(grep -c kill ${calls}) - 1)); last=$((\${#how[@]} - 1))
    case \${how[n < last ? n : last]} in ends) : >${ended} ;; fails) exit 1 ;; esac`;
  await writeFile(join(dir, 'docker'), docker, { mode: 0o755 });
  await writeFile(join(dir, 'systemctl'), `#!/bin/bash\necho '${jobs}'\n`, { mode: 0o755 });
  const env = { PATH: `${dir}:${process.env['PATH']}`, ROLLCALL_NOTIFY: 'off', ROLLCALL_IMAGE: 'image' };
  const child = spawn('/bin/bash', ['-c', script], { env, stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  const called = async () => (await readFile(calls, 'utf8').catch(() => '')).trim().split('\n');
  await until('docker runs', LIMIT_MS, async () => (await called())[0] === 'run');
  child.kill('SIGTERM');
  await until('it has ended', LIMIT_MS, () => child.exitCode !== null || child.signalCode !== null);
  assert.equal(child.exitCode, 0);
  return (await called()).slice(1);
}

const kill = (signal: string) => `kill --signal=${signal} rollcall`;

test('a stop is passed on until the container has ended: one without a handler drops the first signals', async (t) => {
  const calls = await stopped(t, { kills: ['has no effect', 'has no effect', 'ends'] });
  assert.ok(calls.length >= 3, calls.join('; '));
  assert.deepEqual([...new Set(calls)], [kill('TERM')]);
});

test('where there is no container yet, a stop ends docker’s client', async (t) => {
  assert.deepEqual([...new Set(await stopped(t, { kills: ['fails'] }))], [kill('TERM')]);
});

test('the agent hears SIGUSR2 when the unit is restarted, and SIGTERM when it is stopped', async (t) => {
  const job = (name: string, what: string) => `1234 ${name} ${what} running`;
  const restarted = { kills: ['ends'], jobs: job('rollcall.service', 'restart') } as const;
  assert.deepEqual([...new Set(await stopped(t, restarted))], [kill('USR2')]);
  const other = { kills: ['ends'], jobs: job('rollcall.service', 'stop') } as const;
  assert.deepEqual([...new Set(await stopped(t, other))], [kill('TERM')]);
});

for (const name of ['rollcall', 'ecs-agent'] as const) {
  test(`before ${name} starts, what docker could not remove before is removed, and what it cannot now is renamed`, async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'rollcall-unit-'));
    t.after(() => rm(dir, { recursive: true, force: true }));
    const file = name === 'rollcall' ? 'rollcall.service' : 'amazon-ecs-agent.service';
    const steps = settings(await readFile(new URL(`../../units/${file}`, import.meta.url), 'utf8'));
    const step = steps.find(({ name, value }) => name === 'ExecStartPre' && value.includes('docker rename'))?.value;
    const script =
      /^-\/bin\/bash -c '(.*)'$/
        .exec(step ?? '')?.[1]
        ?.replaceAll('$$', '$')
        .replaceAll('%%', '%') ?? '';
    const run = async (docker: string) => {
      const calls = join(dir, 'calls');
      await writeFile(join(dir, 'docker'), `#!/bin/bash\necho "$*" >>${calls}\n${docker}\n`, { mode: 0o755 });
      const env = { PATH: `${dir}:${process.env['PATH']}` };
      const stdio: ('ignore' | 'pipe')[] = ['ignore', 'pipe', 'pipe'];
      const { status, stderr } = spawnSync('/bin/bash', ['-c', script], { env, encoding: 'utf8', stdio });
      assert.equal(status, 0, stderr);
      const called = (await readFile(calls, 'utf8')).trim().split('\n');
      await rm(calls);
      return { called, stderr };
    };
    const clean = await run('[ "$1" = ps ] && exit; echo "Error: No such container: x" >&2; exit 1');
    assert.deepEqual(clean, {
      called: [`ps -aqf name=^/${name}-stuck-`, `rm -f ${name}`, clean.called[2] ?? ''],
      stderr: '',
    });
    // It names the older ones too, each time.
    const stuck = await run('case $1 in ps) printf "0123\\n4567\\n" ;; rm) echo busy >&2; exit 1 ;; esac');
    assert.deepEqual(stuck.called.slice(0, 2), [`ps -aqf name=^/${name}-stuck-`, `rm -f ${name} 0123 4567`]);
    const to = new RegExp(`^rename ${name} (${name}-stuck-\\d+)$`).exec(stuck.called[2] ?? '')?.[1] ?? '';
    assert.ok(to.startsWith(`${name}-stuck-`), stuck.called.join('; '));
    assert.ok(
      stuck.stderr.includes(`<4>${name}: docker cannot remove the container of an earlier run; it is ${to} now`),
    );
  });
}
