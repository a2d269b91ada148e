import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type EtcdServer, startEtcd } from '../support/etcd-server.ts';
import { type FleetStandIn, startFleetStandIn } from '../support/fleet-standin.ts';
import { rollcall, rollStates, startFleet, until } from '../support/rollcall-process.ts';

/** What a fleet re-serialises: a comment, an indentation, a continued line, a section in two parts. */
const UNIT = (label: string) => `# deployed by scripts/deploy
[Unit]
  Description=rollcall
[Service]
Environment=ROLLCALL_LABEL=generation=${label}
ExecStart=/usr/bin/docker run --rm --net=host \\
    --name rollcall rollcall agent
; what makes it run everywhere
[X-Fleet]
Global=true
[Unit]
After=docker.service
`;
const ECS_UNIT = '[Unit]\nDescription=ecs-agent\n[Service]\nExecStart=/usr/bin/docker run amazon/amazon-ecs-agent\n';

interface World {
  readonly etcd: EtcdServer;
  readonly store: string;
  readonly fleet: FleetStandIn;
  readonly units: string;
  /** `scripts/deploy` with all it needs and nobody to ask. */
  deploy(...more: string[]): ReturnType<FleetStandIn['script']>;
  undeploy(...more: string[]): ReturnType<FleetStandIn['script']>;
  /** In a process group of its own, as a shell starts it for Ctrl-C to reach. */
  deployInGroup(env: Record<string, string>): ReturnType<FleetStandIn['start']>;
  writeUnits(label: string): Promise<void>;
  /** instance id → the label that its agent was started with */
  labels(): Promise<Record<string, string>>;
}

async function world(t: TestContext, version: string, nodes = 3): Promise<World> {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const store = etcd.clientUrl.replace('http', 'etcd');
  const simulated = await startFleet(t, 3);
  const fleet = await startFleetStandIn(t, { version, store, simulated, nodes });
  const units = await mkdtemp(join(tmpdir(), 'rollcall-units-'));
  t.after(() => rm(units, { recursive: true, force: true }));
  const writeUnits = async (label: string) => {
    await writeFile(join(units, 'rollcall.service'), UNIT(label));
    await writeFile(join(units, 'amazon-ecs-agent.service'), `${ECS_UNIT}[X-Fleet]\nGlobal=true\n`);
  };
  await writeUnits('1');
  return {
    etcd,
    store,
    fleet,
    units,
    writeUnits,
    deploy: (...more) =>
      fleet.script('deploy', ['--store', store, '--cluster', 'demo', '--units', units, '--yes', ...more]),
    undeploy: (...more) => fleet.script('undeploy', ['--store', store, '--yes', ...more]),
    deployInGroup: (env) =>
      fleet.start('deploy', ['--store', store, '--cluster', 'demo', '--units', units, '--yes'], env),
    async labels() {
      const { stdout } = await rollcall(['list', '-o', 'json', '--store', store]);
      const nodesThere: { ec2InstanceId: string; labels: Record<string, string> }[] =
        JSON.parse(stdout).containerInstances;
      return Object.fromEntries(nodesThere.map((node) => [node.ec2InstanceId, node.labels['generation'] ?? '']));
    },
  };
}

const CHANGES = /^(submit|start|stop|load|unload|destroy|aws ecs create)/;
const changes = (calls: readonly string[]) => calls.filter((call) => CHANGES.test(call));
const lastLine = (text: string) => text.trimEnd().split('\n').at(-1) ?? '';
const count = (states: Record<string, string>, state: string) =>
  Object.values(states).filter((each) => each === state).length;

for (const version of ['0.11.8', '1.0.0']) {
  test(`fleet ${version}: deploy, deploy again, replace, undeploy, each only as far as it is not done yet`, async (t) => {
    const w = await world(t, version);

    const rehearsal = await w.deploy('--dry-run');
    assert.equal(rehearsal.code, 0, rehearsal.stderr);
    assert.match(rehearsal.stdout, /would create the ECS cluster demo/);
    assert.match(rehearsal.stdout, /would submit rollcall\.service/);
    assert.match(rehearsal.stdout, /now 0 have, not 10\.113\.0\.23/);
    assert.deepEqual(changes(await w.fleet.calls()), []);
    assert.deepEqual(w.fleet.state.unitNames(), []);

    const first = await w.deploy();
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stderr, /all 3 machines have answered the roll\n$/);
    assert.equal(first.stdout.trim().split('\n').length, 4, first.stdout);
    assert.deepEqual(await w.fleet.clusters(), ['demo']);
    assert.equal(count(await rollStates(w.store), 'present'), 3);
    await w.fleet.calls();

    const second = await w.deploy();
    assert.equal(second.code, 0, second.stderr);
    assert.match(second.stderr, /nothing to change/);
    assert.equal(second.stdout, first.stdout);
    assert.deepEqual(changes(await w.fleet.calls()), []);

    await w.writeUnits('2');
    const third = await w.deploy();
    assert.equal(third.code, 0, third.stderr);
    assert.deepEqual(Object.values(await w.labels()), ['2', '2', '2'], 'it waited for the new agents');
    const replacing = changes(await w.fleet.calls());
    assert.ok(
      replacing.every((call) => call.includes('rollcall.service')),
      replacing.join('\n'),
    );
    assert.equal(
      replacing.some((call) => call.includes('--replace')),
      version === '1.0.0',
      replacing.join('\n'),
    );

    const farewell = await w.undeploy('--dry-run');
    assert.equal(farewell.code, 0, farewell.stderr);
    assert.match(farewell.stdout, /would stop rollcall\.service/);
    assert.deepEqual(changes(await w.fleet.calls()), []);

    const gone = await w.undeploy();
    assert.equal(gone.code, 0, gone.stderr);
    assert.deepEqual(w.fleet.state.unitNames(), []);
    assert.equal(count(await rollStates(w.store), 'departed'), 3);
    await w.fleet.calls();
    const goneAgain = await w.undeploy();
    assert.equal(goneAgain.code, 0, goneAgain.stderr);
    assert.match(goneAgain.stderr, /nothing to change/);
    assert.deepEqual(changes(await w.fleet.calls()), []);
  });
}

test('a machine that does not answer is named with what is known of it; one that leaves the fleet is not waited for', async (t) => {
  const w = await world(t, '1.0.0');
  const [, , third] = w.fleet.machines;
  assert.ok(third);
  w.fleet.broken.add(third.id);
  const result = await w.deploy('--timeout', '6s');
  assert.equal(result.code, 1);
  assert.match(result.stderr, /2 of 3 machines have answered the roll; waiting for 10\.113\.0\.25/);
  assert.match(
    result.stderr,
    new RegExp(
      `not answered: 10\\.113\\.0\\.25 \\(machine ${third.id}\\): it never answered.*rollcall\\.service failed/failed`,
    ),
  );
  assert.match(
    lastLine(result.stderr),
    /1 of 3 machines did not answer the roll within 6s: 10\.113\.0\.25; .*journalctl/,
  );
  assert.match(result.stdout, /10\.113\.0\.23 +i-/);

  const waiting = w.deploy('--timeout', '60s');
  await until('it waits', 30_000, async () => (await w.fleet.calls()).length > 8);
  w.fleet.state.putMachines(w.fleet.machines.slice(0, 2));
  const shrunk = await waiting;
  assert.equal(shrunk.code, 0, shrunk.stderr);
  assert.match(shrunk.stderr, /all 2 machines have answered the roll\n$/);
});

test('a machine whose agent went away is named as departed or lost', async (t) => {
  const w = await world(t, '0.11.8', 2);
  assert.equal((await w.deploy()).code, 0);
  const [first] = w.fleet.machines;
  assert.ok(first);
  w.fleet.broken.add(first.id);
  await until('it departed', 15_000, async () => count(await rollStates(w.store), 'departed') === 1);
  const result = await w.deploy('--timeout', '1s');
  assert.equal(result.code, 1);
  assert.match(result.stderr, /not answered: 10\.113\.0\.23 .*departed \(stopped\) at 20/);
});

test('what cannot be reached or read stops it before anything is changed, with the cause and the next step last', async (t) => {
  const w = await world(t, '1.0.0', 1);
  const stops = async (pattern: RegExp, run: Promise<Awaited<ReturnType<World['deploy']>>>) => {
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
  await stops(/cannot ask ECS for cluster demo: Unable to locate credentials.*--skip-cluster/, w.deploy());
  await w.fleet.awsError(null);
  await writeFile(join(w.units, 'rollcall.service'), '[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=True # all\n');
  await stops(/rollcall\.service cannot be deployed: it is no global unit/, w.deploy());
  await w.writeUnits('1');
  const plain = ['--store', w.store, '--cluster', 'demo', '--units', w.units];
  await stops(/nobody to ask.*--yes/, w.fleet.script('deploy', plain));
});

test('without the programs it needs it says which; without aws --skip-cluster goes on', async (t) => {
  const w = await world(t, '1.0.0', 1);
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
  assert.match(lastLine(without.stderr), /fleetctl is not installed: put it on the PATH/);
  const noAws = await w.fleet.script('deploy', args, { PATH: fleetOnly });
  assert.equal(noAws.code, 1);
  assert.match(lastLine(noAws.stderr), /aws CLI is not installed.*--skip-cluster/);
  const skipped = await w.fleet.script('deploy', [...args, '--skip-cluster'], { PATH: fleetOnly });
  assert.equal(skipped.code, 0, skipped.stderr);
  assert.deepEqual(await w.fleet.clusters(), []);
});

test('a fleetctl that prints its usage and ends well has done nothing, and is not believed', async (t) => {
  const w = await world(t, '1.0.0', 1);
  const fails = async (fault: string, pattern: RegExp, run: () => ReturnType<World['deploy']>) => {
    w.fleet.state.putFault(fault);
    const { code, stderr } = await run();
    w.fleet.state.putFault('');
    assert.equal(code, 1, stderr);
    assert.match(lastLine(stderr), pattern);
  };
  await fails('usage submit', /fleet did not take amazon-ecs-agent\.service as submitted/, w.deploy);
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
  await fails('usage destroy', /fleet still has rollcall\.service/, w.undeploy);
});

test('an agent that outlives a replacement, or an undeployment, is not taken for done', async (t) => {
  const w = await world(t, '1.0.0', 2);
  assert.equal((await w.deploy()).code, 0);
  const [, second] = w.fleet.machines;
  assert.ok(second);
  w.fleet.deaf.add(second.id);
  await w.writeUnits('2');
  const replaced = await w.deploy('--timeout', '8s');
  assert.equal(replaced.code, 1);
  assert.match(
    replaced.stderr,
    /not answered: 10\.113\.0\.24 .*still answers through the agent that was to be replaced/,
  );
  const gone = await w.undeploy('--timeout', '4s');
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /still present: 10\.113\.0\.24 \(machine /);
  assert.match(
    lastLine(gone.stderr),
    /1 machines are still present on the roll after 4s.*not all was done, only: stop rollcall\.service; run it again/,
  );
  assert.deepEqual(w.fleet.state.unitNames(), ['amazon-ecs-agent.service', 'rollcall.service']);
  w.fleet.deaf.delete(second.id);
  const rest = await w.undeploy('--keep-ecs-agent');
  assert.equal(rest.code, 0, rest.stderr);
  assert.doesNotMatch(rest.stderr, /stop rollcall/, 'that was done before');
  assert.deepEqual(w.fleet.state.unitNames(), ['amazon-ecs-agent.service']);
});

test('a store that is away for a while is waited for; a cluster that is another than asked for is noted', async (t) => {
  const w = await world(t, '1.0.0', 2);
  w.fleet.broken.add(w.fleet.machines[0]?.id ?? '');
  const waiting = w.fleet.script('deploy', ['--store', w.store, '--cluster', 'other', '--units', w.units, '--yes']);
  await until('one has answered', 30_000, async () => count(await rollStates(w.store), 'present') === 1);
  await w.etcd.stop();
  await sleep(6_000);
  await w.etcd.restart();
  w.fleet.broken.clear();
  const result = await waiting;
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.stderr, /cannot read the roll: .*connection refused/);
  assert.match(result.stderr, /note: 10\.113\.0\.23 \(machine \w+\) is in cluster demo, not other/);
  assert.match(lastLine(result.stderr), /all 2 machines have answered/);
});

test('Ctrl-C while it waits leaves the units deployed, says so, and leaves no files behind', async (t) => {
  const w = await world(t, '1.0.0', 1);
  w.fleet.broken.add(w.fleet.machines[0]?.id ?? '');
  const temporary = await mkdtemp(join(tmpdir(), 'rollcall-tmp-'));
  t.after(() => rm(temporary, { recursive: true, force: true }));
  const running = w.deployInGroup({ TMPDIR: temporary });
  await until('it waits', 30_000, () => running.stderr().includes('waiting for'));
  assert.equal((await readdir(temporary)).length, 1);
  process.kill(-running.pid, 'SIGINT');
  assert.equal(await running.ended, 130);
  assert.match(lastLine(running.stderr()), /interrupted while waiting; the units are deployed, run it again/);
  assert.deepEqual(await readdir(temporary), []);
  assert.deepEqual(w.fleet.state.unitNames(), ['amazon-ecs-agent.service', 'rollcall.service']);
});

test('the variable ROLLCALL names another command that reads the roll', async (t) => {
  const w = await world(t, '1.0.0', 1);
  assert.equal((await w.deploy()).code, 0);
  const [first] = w.fleet.machines;
  const script = join(w.units, 'elsewhere');
  await writeFile(script, `#!/bin/sh\necho "$@" >>${script}.log\nexec scripts/rollcall "$@" --store ${w.store}\n`, {
    mode: 0o755,
  });
  const env = { ROLLCALL: `env A=b ${script}`, ROLLCALL_CLUSTER: 'demo', ROLLCALL_HEALTH: 'critical' };
  const result = await w.fleet.script('deploy', ['--units', w.units, '--yes'], env);
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.stdout, new RegExp(`^${first?.ip} `, 'm'));
  assert.match(await readFile(`${script}.log`, 'utf8'), /^list --all -o json$/m);
});

test('what stops it half-way is told with what was done, and the next run goes on from there', async (t) => {
  const w = await world(t, '0.11.8', 2);
  w.fleet.state.putFault('refuse start');
  const half = await w.deploy();
  assert.equal(half.code, 1);
  assert.match(
    lastLine(half.stderr),
    /cannot start \S+amazon-ecs-agent\.service: .*read-only; not all was done, only: create-cluster demo, submit amazon-ecs-agent\.service; run it again/,
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
  assert.match(lastLine(stuck.stderr), /cannot destroy rollcall\.service: .*only: stop rollcall\.service, wait/);
});

test('wrong usage is one line and status 2', async (t) => {
  const w = await world(t, '1.0.0', 1);
  for (const [args, pattern] of [
    [['--frobnicate'], /unknown argument "--frobnicate"/],
    [['--store', w.store], /no cluster given/],
    [['--cluster', 'demo'], /no store given/],
    [['--store', w.store, '--cluster', 'a b'], /"a b" is no ECS cluster name/],
    [['--store', w.store, '--cluster', 'demo', '--timeout', '5'], /--timeout "5" is no duration: write 90s/],
    [['--store'], /--store: a value must follow/],
  ] as const) {
    const { code, stderr } = await w.fleet.script('deploy', args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, pattern);
    assert.equal(stderr.trim().split('\n').length, 1, stderr);
  }
});
