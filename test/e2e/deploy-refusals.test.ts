import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { changes, type DeployWorld, deployWorld, lastLine } from '../support/deploy-world.ts';

test('if something cannot be reached or read, nothing is changed, and the last line has the cause and the next step', async (t) => {
  const w = await deployWorld(t, '1.0.0', 1);
  const stops = async (pattern: RegExp, run: Promise<Awaited<ReturnType<DeployWorld['deploy']>>>) => {
    const result = await run;
    assert.equal(result.code, 1, result.stderr);
    assert.match(lastLine(result.stderr), pattern);
    assert.equal(result.stdout, '');
    assert.deepEqual(changes(await w.fleet.calls()), []);
    assert.deepEqual(w.fleet.state.unitNames(), []);
  };
  w.fleet.state.putFault('unreachable');
  await stops(/cannot reach the fleet: .*fleet\.sock: no such file.*FLEETCTL_TUNNEL/, w.deploy());
  await stops(/cannot reach the fleet/, w.undeploy());
  w.fleet.state.putFault('ssh ssh: handshake failed: unauthorized host');
  const unknownKey = /unauthorized host; run fleetctl list-machines once, check the host's key and accept it/;
  await stops(unknownKey, w.deploy());
  await stops(unknownKey, w.undeploy());
  w.fleet.state.putFault('ssh ssh: handshake failed: host key mismatch');
  await stops(/host key mismatch; .*known_hosts/, w.deploy());
  w.fleet.state.putFault('ssh ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey]');
  await stops(/unable to authenticate.*; add a key .*ssh-add/, w.deploy());
  w.fleet.state.putFault('ssh SSH_AUTH_SOCK environment variable is not set. Verify ssh-agent is running.');
  await stops(/SSH_AUTH_SOCK.*; start ssh-agent.*ssh-add/, w.deploy());
  w.fleet.state.putFault('ssh banner \u001b]0;owned\u0007 \u009b2J \u202e');
  await stops(/: banner \?\]0;owned\? \?2J \?; check FLEETCTL_TUNNEL/, w.deploy());
  w.fleet.state.putFault('usage');
  await stops(/answered "NAME: fleetctl .*expected "fleetctl version/, w.deploy());
  w.fleet.state.putFault('usage list-machines');
  await stops(/cannot reach the fleet: fleetctl list-machines answered "NAME:" instead of a list/, w.deploy());
  w.fleet.state.putFault('usage cat');
  await stops(/cannot read amazon-ecs-agent\.service from fleet: NAME:/, w.deploy());
  w.fleet.state.putFault('');
  w.fleet.state.putMachines([]);
  await stops(/fleet lists no machine/, w.deploy());
  w.fleet.state.putMachines(w.fleet.machines);
  await stops(/cannot read the roll: .*127\.0\.0\.1:1.*--store/, w.deploy('--store', 'etcd://127.0.0.1:1'));
  await w.fleet.awsError('Unable to locate credentials. You can configure credentials by running "aws configure".');
  await stops(/cannot read cluster demo from ECS: Unable to locate credentials.*--skip-cluster/, w.deploy());
  await w.fleet.awsError(null);
  await writeFile(join(w.units, 'rollcall.service'), '[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=True # all\n');
  await stops(/rollcall\.service cannot be deployed: it is not a global unit/, w.deploy());
  await w.writeUnits('1');
  const plain = ['--store', w.store, '--cluster', 'demo', '--units', w.units];
  await stops(/cannot read the roll: .*fleetctl destroy amazon-ecs/, w.undeploy('--store', 'etcd://127.0.0.1:1'));
  await stops(/no terminal to ask for confirmation.*--yes/, w.fleet.script('deploy', plain));
});

test('a missing program is named; without aws, --skip-cluster works', async (t) => {
  const w = await deployWorld(t, '1.0.0', 1);
  const bare = await mkdtemp(join(tmpdir(), 'rollcall-path-'));
  t.after(() => rm(bare, { recursive: true, force: true }));
  const none = join(bare, 'none');
  const fleetOnly = join(bare, 'fleet');
  for (const folder of [none, fleetOnly]) {
    await mkdir(folder);
    for (const name of await readdir('/usr/bin')) {
      if (name !== 'aws' && name !== 'fleetctl') await symlink(`/usr/bin/${name}`, join(folder, name));
    }
  }
  await symlink(join(w.fleet.bin, 'fleetctl'), join(fleetOnly, 'fleetctl'));
  const args = ['--store', w.store, '--cluster', 'demo', '--units', w.units, '--yes'];
  const without = await w.fleet.script('deploy', args, { PATH: none });
  assert.match(lastLine(without.stderr), /fleetctl is not installed: put fleetctl 0\.11 to 1\.0 on the PATH$/);
  const noAws = await w.fleet.script('deploy', args, { PATH: fleetOnly });
  assert.equal(noAws.code, 1);
  assert.match(lastLine(noAws.stderr), /aws CLI is not installed.*--skip-cluster/);
  const skipped = await w.fleet.script('deploy', [...args, '--skip-cluster'], { PATH: fleetOnly });
  assert.equal(skipped.code, 0, skipped.stderr);
  assert.deepEqual(await w.fleet.clusters(), []);
});

test('a fleetctl that prints its usage and exits with 0 has changed nothing, which is detected', async (t) => {
  const w = await deployWorld(t, '1.0.0', 1);
  const fails = async (fault: string, pattern: RegExp, run: () => ReturnType<DeployWorld['deploy']>) => {
    w.fleet.state.putFault(fault);
    const { code, stderr } = await run();
    w.fleet.state.putFault('');
    assert.equal(code, 1, stderr);
    assert.match(lastLine(stderr), pattern);
  };
  await fails('usage submit', /fleet has not the submitted text of amazon-ecs-agent\.service/, w.deploy);
  await fails(
    'usage start',
    /fleetctl start amazon-ecs-agent\.service changed nothing \(fleet says "inactive true"\)/,
    w.deploy,
  );
  assert.equal((await w.deploy()).code, 0);
  await w.writeUnits('2');
  await fails('usage start', /fleet kept the old rollcall\.service/, w.deploy);
  await fails(
    'forget replace',
    /fleet kept the old rollcall\.service: WARNING: Unit rollcall\.service in registry/,
    w.deploy,
  );
  await fails('usage list-unit-files', /cannot read the state of rollcall\.service from fleet/, w.undeploy);
  await fails('usage stop', /fleetctl stop rollcall\.service changed nothing/, w.undeploy);
  await fails('usage list-units', /cannot read the states of the units: fleetctl list-units answered "NAME:"/, () =>
    w.undeploy('--timeout', '1s'),
  );
  await fails('usage destroy', /fleet still has rollcall\.service/, w.undeploy);
});

test('after a failure half-way the last line says what was done, and the next run continues', async (t) => {
  const w = await deployWorld(t, '0.11.8', 2);
  w.fleet.state.putFault('refuse start');
  const half = await w.deploy();
  assert.equal(half.code, 1);
  assert.match(
    lastLine(half.stderr),
    /cannot start \S+amazon-ecs-agent\.service: .*read-only; done so far: create-cluster demo, submit amazon-ecs-agent\.service; run it again/,
  );
  w.fleet.state.putFault('');
  const rest = await w.deploy();
  assert.equal(rest.code, 0, rest.stderr);
  assert.doesNotMatch(rest.stderr, /submit amazon-ecs-agent/);

  await w.writeUnits('2');
  w.fleet.state.putFault('refuse submit');
  const between = await w.deploy();
  assert.equal(between.code, 1);
  assert.match(
    lastLine(between.stderr),
    /cannot submit \S+rollcall\.service.*rollcall\.service is destroyed, its new file not submitted/,
  );
  w.fleet.state.putFault('refuse destroy');
  assert.equal((await w.deploy()).code, 0);
  const stuck = await w.undeploy();
  assert.equal(stuck.code, 1);
  assert.match(lastLine(stuck.stderr), /cannot destroy rollcall\.service: .*done so far: stop rollcall\.service, wait/);
});

test('wrong usage is one line and status 2', async (t) => {
  const w = await deployWorld(t, '1.0.0', 1);
  for (const [args, pattern] of [
    [['--frobnicate'], /unknown argument "--frobnicate"/],
    [['--store', w.store], /no cluster is set/],
    [['--cluster', 'demo'], /no store is set/],
    [['--store', 'memory:', '--cluster', 'demo'], /memory: is a store inside one process/],
    [['--store', w.store, '--cluster', 'a b'], /"a b" is not an ECS cluster name/],
    [['--store', w.store, '--cluster', 'demo', '--timeout', '5'], /--timeout "5" is not a duration; use 90s/],
    [['--store'], /--store needs a value/],
  ] as const) {
    const { code, stderr } = await w.fleet.script('deploy', args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, pattern);
    assert.equal(stderr.trim().split('\n').length, 1, stderr);
  }
});
