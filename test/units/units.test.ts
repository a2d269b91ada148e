import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { agentOptions, journalOption, notifyOption } from '../../src/config/agent-flags.ts';
import { storeOptions } from '../../src/config/store-flags.ts';
import { until } from '../support/machine-time.ts';
import { fleetFaults, settings } from './fleet-faults.ts';

const UNITS = new URL('../../units/', import.meta.url);
const read = (name: string) => readFile(new URL(name, UNITS), 'utf8');
const names = (await readdir(UNITS)).filter((name) => name.endsWith('.service'));

const LIMIT_MS = 10_000;
const GOOD = '[Service]\nExecStart=/bin/true \\\n  --flag\n\n[X-Fleet]\nGlobal=true\n';

test('each known fault of fleet is detected', () => {
  assert.deepEqual(fleetFaults(GOOD), []);
  const traps: Record<string, string> = {
    'carriage return': GOOD.replaceAll('\n', '\r\n'),
    'newline at the end': GOOD.trimEnd(),
    'not ASCII': `# ${'…'}\n${GOOD}`,
    'over 2048 bytes, which': GOOD.replace('--flag', 'x'.repeat(2_049)),
    'over 2048 bytes when joined': GOOD.replace('--flag', `${'x'.repeat(1_500)} \\\n${'y'.repeat(1_500)}`),
    'space after the backslash': GOOD.replace('\\\n', '\\ \n'),
    'swallows the next line': `# a comment \\\n${GOOD}`,
    'inside a continuation': GOOD.replace('  --flag', '# why\n  --flag'),
    'only [X-Fleet]': GOOD.replace('X-Fleet', 'X-FLEET'),
    'takes only true': GOOD.replace('Global=true', 'Global=true # everywhere'),
    'not global': GOOD.replace('Global=', 'global='),
    'not for a global unit': `${GOOD}MachineOf=other.service\n`,
    'anything else runs everywhere': `${GOOD}MachineMetadata=role=node\n`,
  };
  for (const [fault, text] of Object.entries(traps)) {
    assert.ok(
      fleetFaults(text).join('; ').includes(fault),
      `${fault}: ${fleetFaults(text).join('; ') || 'nothing seen'}`,
    );
  }
  assert.deepEqual(fleetFaults(`${GOOD}MachineMetadata="role=node" "rack=3"\n`), []);
});

test('no shipped unit has one of these faults', async () => {
  assert.deepEqual(names.toSorted(), ['amazon-ecs-agent.service', 'rollcall.service']);
  for (const name of names) assert.deepEqual(fleetFaults(await read(name)), [], name);
});

test('rollcall’s unit has the settings that its promises need', async () => {
  const unit = settings(await read('rollcall.service'));
  const values = (name: string) => unit.filter((each) => each.name === name).map(({ value }) => value);
  // It reports an ecs-agent that is dead or hangs in its start, and never starts one: it does not name that unit at all.
  assert.deepEqual(
    unit.filter(({ name, value }) => !name.startsWith('Exec') && value.includes('ecs-agent')),
    [],
  );
  // An environment file is no condition.
  assert.ok(values('EnvironmentFile').every((value) => value.startsWith('-')));
  // What once starts in vain for want of a required unit, or meets a limit of starts, is never tried again.
  assert.deepEqual(values('Requires'), []);
  assert.deepEqual([values('PartOf'), values('StartLimitInterval')], [['docker.service'], ['0']]);
  assert.deepEqual(
    ['Type', 'NotifyAccess', 'Restart', 'RestartPreventExitStatus', 'WatchdogSec', 'KillMode'].flatMap(values),
    ['notify', 'all', 'always', '3', '30', 'mixed'],
  );
  assert.deepEqual(values('SyslogIdentifier'), ['rollcall']);
  assert.match(values('ExecStart').join(), /--read-only --cap-drop=ALL --security-opt=no-new-privileges/);
  assert.doesNotMatch(values('ExecStart').join(), /MAINPID|--privileged|docker\.sock/);
  // systemd expands a single dollar sign itself, and nothing of ours is meant for it.
  for (const { value } of unit) assert.doesNotMatch(value.replaceAll('$$', ''), /\$/);
});

test('no shell with a trap parses a command substitution: bash 5.2 fails at a signal meanwhile', async () => {
  for (const name of names) {
    const scripts = settings(await read(name)).flatMap(
      ({ value }) => /^-?\/bin\/bash -c '(.*)'$/.exec(value)?.[1] ?? [],
    );
    for (const script of scripts) {
      const start = script.indexOf('trap ');
      if (start >= 0) assert.doesNotMatch(script.slice(start), /\$\(|`/, name);
    }
  }
});

test('each line that a unit itself says has its priority, so that journalctl -p warning shows it', async () => {
  for (const name of names) {
    const said = settings(await read(name)).flatMap(({ value }) => value.match(/echo "[^"]*"(?= >&2)/g) ?? []);
    assert.ok(said.length >= 3, name);
    for (const line of said) assert.match(line, /^echo "<[34]>/, name);
  }
});

for (const [name, variable, file] of [
  ['rollcall.service', 'ROLLCALL_STORE', '/etc/rollcall/rollcall.env'],
  ['amazon-ecs-agent.service', 'ECS_CLUSTER', '/etc/ecs/ecs.config'],
] as const) {
  test(`${name} does not start without ${variable}, and says where to set it`, async () => {
    const steps = settings(await read(name)).filter(({ name }) => name === 'ExecStartPre');
    const scripts = steps.map(({ value }) => /^\/bin\/bash -c '(.*)'$/.exec(value)?.[1]?.replaceAll('$$', '$'));
    const check = scripts.find((script) => script?.includes(variable)) ?? assert.fail('nothing looks at it');
    const run = (env: Record<string, string>) =>
      spawnSync('/bin/bash', ['-c', check], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    assert.equal(run({ [variable]: 'x y' }).status, 0);
    for (const env of [{}, { [variable]: '' }]) {
      const { status, stderr } = run(env);
      assert.equal(status, 1);
      const unit = name.replace('.service', '');
      assert.match(
        stderr,
        new RegExp(`${variable} is not set.*write ${variable}=\\S+ into ${file} and run: systemctl restart ${unit}\n$`),
      );
      assert.equal(stderr.split('\n').length, 2, stderr);
    }
  });
}

for (const name of ['rollcall', 'ecs-agent']) {
  test(`the clean-up before ${name} ends soon with a docker that hangs, and at once with a stop`, async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'rollcall-unit-'));
    t.after(() => rm(dir, { recursive: true, force: true }));
    const calls = join(dir, 'calls');
    const stub = `#!/bin/bash\necho "$*" >>${calls}\n[ "$1" != "$HANGS" ] || { [ "$DEAF" = no ] || trap "" TERM; for _ in {1..3000}; do [ -e ${dir} ] || exit; sleep 0.1; done; }\n`;
    await writeFile(join(dir, 'docker'), stub, { mode: 0o755 });
    const file = name === 'rollcall' ? 'rollcall.service' : 'amazon-ecs-agent.service';
    const step = settings(await read(file)).find(({ value }) => value.includes('docker rename'))?.value ?? '';
    const script = /^-\/bin\/bash -c '(.*)'$/.exec(step)?.[1]?.replaceAll('$$', '$').replaceAll('%%', '%');
    assert.ok(script, step);
    /** In a process group of its own, as systemd starts it. */
    const start = (text: string, hangs: string, deaf = 'yes') => {
      const env = { PATH: `${dir}:${process.env['PATH']}`, HANGS: hangs, DEAF: deaf };
      const child = spawn('/bin/bash', ['-c', text], { env, stdio: 'ignore', detached: true });
      t.after(() => child.kill('SIGKILL'));
      return child;
    };
    const inGroup = async (pid: number | undefined) => {
      const all = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
      const stats = await Promise.all(all.map((entry) => readFile(`/proc/${entry}/stat`, 'latin1').catch(() => '')));
      // One that has ended, and that process 1 has not seen off yet, is none (Z).
      return stats.filter((stat) => new RegExp(`\\) [^Z] \\d+ ${pid} `).test(stat));
    };
    const called = async () =>
      (await readFile(calls, 'utf8').catch(() => ''))
        .trim()
        .split('\n')
        .map((line) => line.split(' ')[0]);

    // The unit's limits, but twenty times as short.
    const quick = script.replace(
      /timeout --foreground -k (\d+) (\d+)/g,
      (_, kill, limit) => `timeout --foreground -k ${kill / 20} ${limit / 20}`,
    );
    for (const hangs of ['ps', 'rm', 'rename']) {
      await rm(calls, { force: true });
      const child = start(quick, hangs);
      await until(`it ends although docker ${hangs} hangs`, LIMIT_MS, () => child.exitCode === 0);
      assert.deepEqual(await called(), ['ps', 'rm', 'rename'], hangs);
    }
    const slow = script.replace(/timeout --foreground -k \d+ \d+/g, 'timeout --foreground -k 600 600');
    for (const deaf of ['yes', 'no']) {
      for (const hangs of ['ps', 'rm', 'rename']) {
        await rm(calls, { force: true });
        const child = start(slow, hangs, deaf);
        await until(`docker ${hangs} hangs`, LIMIT_MS, async () => (await called()).at(-1) === hangs);
        child.kill('SIGTERM');
        await until(`it ends although docker ${hangs} hangs`, LIMIT_MS, () => child.exitCode === 0);
        assert.deepEqual((await called()).at(-1), hangs, 'nothing more is begun');
        // systemd would have to kill these.
        if (deaf === 'no') assert.deepEqual(await inGroup(child.pid), [], hangs);
      }
    }
  });
}

test('the agent hears the cluster that ecs-agent is configured with, and nothing else of that file', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-unit-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, 'docker'), '#!/bin/sh\necho "$*" >&2\nenv | grep ^ECS_CLUSTER= >&2\n');
  await chmod(join(dir, 'docker'), 0o755);
  const unit = settings(await read('rollcall.service'));
  const start = unit.find(({ name }) => name === 'ExecStart')?.value ?? '';
  const script = /^\/bin\/bash -c '(.*)'$/.exec(start)?.[1]?.replaceAll('$$', '$') ?? assert.fail(start);
  const config = join(dir, 'ecs.config');
  let agentCall = '';
  const run = async (text: string | null, more: Record<string, string> = {}) => {
    if (text === null) await rm(config, { force: true });
    else await writeFile(config, text);
    const env = { PATH: `${dir}:${process.env['PATH']}`, ROLLCALL_NOTIFY: 'off', ROLLCALL_IMAGE: 'image', ...more };
    const argv = ['-c', script.replaceAll('/etc/ecs/ecs.config', config)];
    const { stderr } = spawnSync('/bin/bash', argv, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    agentCall = /^.* image agent.*$/m.exec(stderr)?.[0] ?? assert.fail(stderr);
    assert.doesNotMatch(stderr, /AWS_|No such/);
    return / --env=ECS_CLUSTER /.test(stderr) ? (/^ECS_CLUSTER=(.*)$/m.exec(stderr)?.[1] ?? '') : '';
  };
  assert.equal(await run('AWS_SECRET_ACCESS_KEY=x\nECS_CLUSTER="demo"\n'), 'demo');
  assert.equal(await run("ECS_CLUSTER=old\nECS_CLUSTER='demo-2' \r\n"), 'demo-2');
  const arn = 'arn:aws:ecs:us-east-1:123456789012:cluster/demo';
  assert.equal(await run(`ECS_CLUSTER=${arn}\n`), arn);
  // As systemd reads it for ecs-agent, such as from user data that is indented.
  assert.equal(await run('  ECS_CLUSTER = demo-3\n\tOTHER=ECS_CLUSTER=x\n'), 'demo-3');
  // What can be no cluster stays as it is, and the agent says so: without its spaces it would be one that does not exist.
  assert.equal(await run('ECS_CLUSTER=demo # production\n'), 'demo # production');
  for (const none of ['# production', '$CLUSTER', '$\u007bCLUSTER}'])
    assert.equal(await run(`ECS_CLUSTER=${none}\n`), none);
  assert.equal(await run('ECS_CLUSTER="demo,demo-2"\r\n'), 'demo,demo-2');
  assert.equal(await run('# ECS_CLUSTER=none\nMY_ECS_CLUSTER=x\n'), '');
  assert.equal(await run(null), '');
  assert.equal(await run('ECS_CLUSTER=demo\n', { ECS_CLUSTER: 'of-the-agent' }), 'of-the-agent');
  assert.match(agentCall, / image agent$/);
  // In the container's environment it would be the filter of `docker exec rollcall rollcall list`.
  await run('ECS_CLUSTER=demo\n', { ROLLCALL_CLUSTER: arn, ROLLCALL_STORE: 'memory:' });
  assert.match(agentCall, / --env=ROLLCALL_STORE image agent --cluster=arn:aws:ecs:\S+:cluster\/demo$/);
  assert.doesNotMatch(agentCall, /ROLLCALL_CLUSTER|PROXY/);
});

test('both containers get the proxies, by name alone', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-unit-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, 'docker'), '#!/bin/sh\necho "$*" >&2\n');
  await chmod(join(dir, 'docker'), 0o755);
  const proxies = { HTTP_PROXY: 'h:1', https_proxy: 'http://u:s3cret@h:2', NO_PROXY: '169.254.169.254' };
  for (const name of names) {
    const start = settings(await read(name)).find((each) => each.name === 'ExecStart')?.value ?? '';
    const script = /^\/bin\/bash -c '(.*)'$/s.exec(start)?.[1]?.replaceAll('$$', '$') ?? assert.fail(start);
    const env = { PATH: `${dir}:${process.env['PATH']}`, ROLLCALL_NOTIFY: 'off', AWS_REGION: 'r', ...proxies };
    const { stderr } = spawnSync('/bin/bash', ['-c', script], { env, encoding: 'utf8' });
    const run = /^run .*$/m.exec(stderr)?.[0] ?? assert.fail(stderr);
    for (const variable of [...Object.keys(proxies), 'AWS_REGION']) assert.ok(run.includes(` --env=${variable} `), run);
    assert.doesNotMatch(stderr, /s3cret/);
  }
});

test('the agent gets the name of the CA file for its checks of https', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-unit-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, 'docker'), '#!/bin/sh\necho "$*" >&2\n');
  await chmod(join(dir, 'docker'), 0o755);
  const start = settings(await read('rollcall.service')).find(({ name }) => name === 'ExecStart')?.value ?? '';
  const script = /^\/bin\/bash -c '(.*)'$/s.exec(start)?.[1]?.replaceAll('$$', '$') ?? assert.fail(start);
  const env = {
    PATH: `${dir}:${process.env['PATH']}`,
    ROLLCALL_NOTIFY: 'off',
    NODE_EXTRA_CA_CERTS: '/etc/ssl/own.pem',
  };
  const { stderr } = spawnSync('/bin/bash', ['-c', script], { env, encoding: 'utf8' });
  assert.match(stderr, / --env=NODE_EXTRA_CA_CERTS /);
  assert.doesNotMatch(stderr, /own\.pem/);
});

test('every setting in the units and drop-ins exists in rollcall', async () => {
  const options = [...storeOptions(), ...agentOptions({}), notifyOption(), journalOption()];
  // The unit's own two, for its ExecStart.
  const known = new Set([...options.map(({ envVar }) => envVar), 'ROLLCALL_IMAGE', 'ROLLCALL_DOCKER_ARGS']);
  for (const name of ['rollcall.service', 'rollcall.bu', 'etcd-tls.conf', 'no-notify.conf']) {
    const path = name.endsWith('.conf') ? `rollcall.service.d/${name}` : name;
    const named = (await read(path)).match(/\bROLLCALL_[A-Z_]+(?==)/g) ?? [];
    assert.ok(named.length > 0, name);
    for (const variable of named) assert.ok(known.has(variable), `${name}: ${variable}`);
  }
});

test('the growing pause applies to failed starts only, and is not in the unit itself', async () => {
  const growing = ['RestartSteps', 'RestartMaxDelaySec'];
  const dropIn = settings(await read('rollcall.service.d/backoff.conf'));
  assert.deepEqual(
    dropIn.map(({ name }) => name),
    [...growing, 'ExecStartPost'],
  );
  // Else systemd goes on counting over months, and a restart of what ran well would take longer than the lease lasts.
  assert.match(dropIn.at(-1)?.value ?? '', /^-\S+ reset-failed %n$/);
  // systemd before 254 warns of what it does not know, at each reload.
  for (const name of names) {
    for (const setting of settings(await read(name))) assert.ok(!growing.includes(setting.name), name);
  }
});

test('every file embedded by the Butane file exists', async () => {
  const embedded = [...(await read('rollcall.bu')).matchAll(/contents_local: (\S+)/g)].map(([, file]) => file ?? '');
  assert.deepEqual(embedded, [
    'amazon-ecs-agent.service',
    'rollcall.service',
    'rollcall.service.d/backoff.conf',
    'rollcall.service.d/etcd-tls.conf',
  ]);
  for (const file of embedded) assert.ok((await read(file)).length > 0);
});

test('the example for Terraform replaces just the files that the Butane file has values in, and all of these', async () => {
  const example = await read('../examples/terraform/main.tf');
  const values = (text: string) => text.match(/(?:ECS_CLUSTER|AWS_REGION|ROLLCALL_IMAGE|ROLLCALL_STORE)(?==)/g);
  const butane = await read('rollcall.bu');
  assert.deepEqual(
    [...example.matchAll(/^ +"(\/\S+)" += "/gm)].map(([, path]) => path),
    [...butane.matchAll(/- path: (\S+)/g)].map(([, path]) => path),
  );
  assert.deepEqual(values(example), values(butane));
  // What the replaced files had besides has a place.
  const more = /^ +more += \{(.*)\}$/m.exec(example)?.[1] ?? '';
  assert.deepEqual(
    [...more.matchAll(/"(\/\S+)" = var\.(\w+)/g)].map(([, path, name]) => [path, name]),
    [
      ['/etc/ecs/ecs.config', 'ecs_config'],
      ['/etc/rollcall/rollcall.env', 'rollcall_env'],
    ],
  );
});

test('ecs-agent has the host’s network, and its ports are closed to other hosts while it runs', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-unit-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const unit = settings(await read('amazon-ecs-agent.service'));
  const script = (name: string) =>
    unit
      .filter((each) => each.name === name && each.value.includes('iptables'))
      .map(({ value }) => /^-\/bin\/bash -c '(.*)'$/.exec(value)?.[1]?.replaceAll('$$', '$') ?? assert.fail(value))
      .join('\n');
  /** Runs it with an iptables that keeps its rules in a file, or without one. */
  const run = async (commands: string, { programs = ['iptables', 'ip6tables'], env = {}, docker = 'exit 0' } = {}) => {
    await rm(join(dir, 'bin'), { recursive: true, force: true });
    await mkdir(join(dir, 'bin'));
    for (const name of programs) {
      const rules = join(dir, name);
      const text = `#!/bin/bash
        [ "$1" = -w ] || exit 9; how=$2; shift 2
        case $how in
          -C) grep -qxF -- "$*" ${rules} ;;
          -I) echo "$*" >>${rules} ;;
          -D) grep -qxF -- "$*" ${rules} && grep -vxF -- "$*" ${rules} >${rules}.new; mv ${rules}.new ${rules} ;;
        esac`;
      await writeFile(join(dir, 'bin', name), text, { mode: 0o755 });
    }
    await writeFile(join(dir, 'bin', 'docker'), `#!/bin/bash\n${docker}\n`, { mode: 0o755 });
    for (const name of ['grep', 'mv', 'bash', 'timeout']) await symlink(`/usr/bin/${name}`, join(dir, 'bin', name));
    const { status, stderr } = spawnSync('/bin/bash', ['-c', commands], {
      env: { PATH: join(dir, 'bin'), ...env },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    assert.equal(status, 0, stderr);
    return stderr;
  };
  const rules = async (name = 'iptables') =>
    (await readFile(join(dir, name), 'utf8')).trim().split('\n').filter(Boolean);
  const CLOSED = [
    'INPUT -p tcp ! -i lo --dport 51678 -j DROP',
    'INPUT -p tcp ! -i lo --dport 51679 -m conntrack ! --ctstate DNAT -j DROP',
  ];
  for (const name of ['iptables', 'ip6tables']) await writeFile(join(dir, name), '');

  assert.equal(await run(script('ExecStartPre')), '');
  assert.deepEqual((await rules()).toSorted(), CLOSED);
  assert.deepEqual(await rules('ip6tables'), await rules());
  assert.equal(await run(script('ExecStartPre')), '', 'a start after a crash adds no rule twice');
  assert.equal((await rules()).length, 2);
  assert.equal(await run(script('ExecStopPost')), '');
  assert.deepEqual([await rules(), await rules('ip6tables')], [[], []]);

  // A container that docker did not remove still listens.
  await run(script('ExecStartPre'));
  for (const docker of ['echo 0123456789ab', 'exit 1']) {
    await run(script('ExecStopPost'), { docker });
    assert.deepEqual([(await rules()).toSorted(), (await rules('ip6tables')).length], [CLOSED, 2], docker);
  }
  const allowed = { env: { ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS: 'true' } };
  assert.equal(await run(script('ExecStartPre'), allowed), '');
  assert.deepEqual(
    [await rules(), (await rules('ip6tables')).length],
    [CLOSED.slice(1), 1],
    'an old rule would keep it closed',
  );
  await run(script('ExecStopPost'));

  // ecs-init's own variable keeps its meaning.
  for (const [value, closed] of [
    ['true', CLOSED.slice(1)],
    ['1', CLOSED.slice(1)],
    ['false', CLOSED],
    ['', CLOSED],
  ] as const) {
    await run(script('ExecStartPre'), { env: { ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS: value } });
    assert.deepEqual((await rules()).toSorted(), closed, value);
    await run(script('ExecStopPost'));
  }
  const without = await run(script('ExecStartPre'), { programs: [] });
  assert.match(without, /^<4>amazon-ecs-agent: no iptables on this host: .*51678.*security group/);
  assert.equal(without.trimEnd().split('\n').length, 1);
  assert.equal(await run(script('ExecStopPost'), { programs: [] }), '');

  const start = unit.find(({ name }) => name === 'ExecStart')?.value ?? '';
  assert.match(start, / --log-driver=none \$\$ECS_AGENT_NETWORK +--volume/);
  assert.ok(unit.some(({ name, value }) => name === 'Environment' && value === 'ECS_AGENT_NETWORK=--net=host'));
  const bridge = settings(await read('amazon-ecs-agent.service.d/bridge.conf'));
  assert.deepEqual(
    bridge.map(({ section, name, value }) => [section, name, value]),
    [['Service', 'Environment', 'ECS_AGENT_NETWORK=--publish=127.0.0.1:51678:51678']],
  );
});
