import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { timed, until } from '../support/machine-time.ts';
import { bootMachine, type Machine } from './support/machine.ts';
import { backOnTheRoll, containers, property, readNode, SLACK_MS } from './support/unit-state.ts';

/** How often each instant is tried. */
const TRIES = Number(process.env['STOP_TRIES'] ?? 2);
const INSTANTS_MS = Array.from({ length: 15 }, (_, index) => (index + 1) * 100);
const STOPPED_WITHIN_MS = 6_000;

/** An ecs-agent that runs: a start of rollcall would wait for one that is between two tries. */
const STAND_IN = `folder=/run/systemd/system/amazon-ecs-agent.service.d
  mkdir -p $folder && printf '[Service]\\nExecStart=\\nExecStart=/bin/sleep infinity\\nExecStop=\\nEnvironment=ECS_CLUSTER=demo\\n' >$folder/stand-in.conf
  systemctl daemon-reload && systemctl restart amazon-ecs-agent`;
const NODE = `/repository/node_modules/node-linux-${process.arch}/bin/node`;
const RUN =
  'docker run --detach --name=alone --log-driver=none --net=host rollcall agent --store etcd://127.0.0.1:2379';

/** What etcd has of the machine: nothing, a departure, or a node that readers take for present. */
async function rollState(machine: Machine): Promise<string> {
  const presence = await machine.etcdctl('get', '--keys-only', '--prefix', '/rollcall/v1/presence/');
  if (presence.trim() !== '') return 'present';
  const record = await machine.etcdctl('get', '--print-value-only', `/rollcall/v1/records/${machine.instanceId}`);
  if (record.trim() === '') return 'never registered';
  return JSON.parse(record).departure?.cause ?? 'lost';
}

test('an ordered stop at any moment of a start', async (t) => {
  const machine = await bootMachine(t);
  const { must } = machine;
  await must(STAND_IN);
  const journal = async (since: string) =>
    must(`journalctl --no-pager --output=cat --unit=rollcall --after-cursor='${since}'`);
  const cursor = async () => /-- cursor: (.*)/.exec(await must('journalctl --show-cursor --lines=0'))?.[1] ?? '';
  const leavesNothing = async (what: string) => {
    assert.ok(
      ['stopped', 'never registered'].includes(await rollState(machine)),
      `${what}: ${await rollState(machine)}`,
    );
  };

  for (const instantMs of INSTANTS_MS) {
    await t.test(`systemctl stop, ${instantMs} ms after the start`, async () => {
      for (let tried = 0; tried < TRIES; tried += 1) {
        const since = await cursor();
        await must('systemctl start --no-block rollcall');
        await sleep(instantMs);
        const [, tookMs] = await timed(must('systemctl stop rollcall'));
        assert.ok(tookMs < STOPPED_WITHIN_MS, `it took ${Math.round(tookMs)} ms\n${await journal(since)}`);
        assert.equal(await property(machine, 'Result'), 'success', await journal(since));
        assert.doesNotMatch(await journal(since), /SIGKILL|timed out/);
        assert.doesNotMatch(await must('docker ps --format "{{.Names}}"'), /rollcall/);
        await leavesNothing('systemctl stop');
      }
    });
  }

  for (const [what, command] of [
    ['docker stop', 'docker stop --time=10 alone'],
    ['kill -TERM', 'kill -TERM $(docker inspect --format "{{.State.Pid}}" alone)'],
  ] as const) {
    await t.test(`${what} of the program alone, while it starts and later`, async () => {
      for (const instantMs of [0, 20, 50, 100, 150, 200, 300, 400, 600, 1_000]) {
        await must(RUN);
        await sleep(instantMs);
        const [, tookMs] = await timed(must(`${command}; docker wait alone`));
        assert.ok(tookMs < STOPPED_WITHIN_MS, `${instantMs} ms: it took ${Math.round(tookMs)} ms`);
        assert.equal((await must('docker inspect --format "{{.State.ExitCode}}" alone')).trim(), '0');
        await must('docker rm alone');
        await leavesNothing(`${what} after ${instantMs} ms`);
      }
      // On a busy machine every one above may have ended before its registration.
      await must(RUN);
      await until('the agent is registered', 10_000 + SLACK_MS, async () => (await rollState(machine)) === 'present');
      await must(`${command}; docker wait alone; docker rm alone`);
      assert.equal(await rollState(machine), 'stopped', `${what} once registered`);
    });
  }

  await t.test('a stop ends a unit whose image is still being pulled', async () => {
    // A registry that takes connections and never answers.
    await must(`systemd-run --unit=silent ${NODE} -e 'net.createServer(() => {}).listen(5999, "127.0.0.1")'`);
    await must('echo ROLLCALL_IMAGE=127.0.0.1:5999/rollcall:1 >>/etc/rollcall/rollcall.env');
    await must('systemctl start --no-block rollcall');
    const pulls = async () => (await machine.run('pgrep --full "docker run .*5999"')).code === 0;
    await until('docker asks the registry', 10_000 + SLACK_MS, pulls);
    const [, tookMs] = await timed(must('systemctl stop rollcall'));
    assert.ok(tookMs < STOPPED_WITHIN_MS, `it took ${Math.round(tookMs)} ms`);
    assert.equal(await property(machine, 'Result'), 'success');
    await must('systemctl stop silent; sed -i /5999/d /etc/rollcall/rollcall.env');
  });

  await t.test('a restart of the unit, and of docker, departs with the cause restart; a stop does not', async () => {
    const causes = async (command: string): Promise<string> => {
      const since = await cursor();
      await must(command, 120_000);
      return /"departed: ([a-z]+)"/.exec(await journal(since))?.[1] ?? 'no departure';
    };
    await must('systemctl start rollcall', 120_000);
    let session = await backOnTheRoll(machine, '');
    assert.equal(await causes('systemctl restart rollcall'), 'restart');
    session = await backOnTheRoll(machine, session);
    assert.equal(await causes('systemctl restart docker'), 'restart');
    session = await backOnTheRoll(machine, session);
    assert.equal(await causes('systemctl stop rollcall'), 'stopped');
    assert.deepEqual((await readNode(machine)).departure?.cause, 'stopped');
    assert.deepEqual(await containers(machine), []);
  });
});

test('a container that docker cannot remove does not prevent a start', async (t) => {
  const machine = await bootMachine(t);
  const { must } = machine;
  await must(STAND_IN);
  const names = async () => (await must('docker ps --all --format "{{.Names}} {{.Status}}"')).trim().split('\n');
  /** Makes a file of the container's file system one that not even root can delete. */
  const stick = (name: string) =>
    must(
      `file=$(docker inspect --format "{{.GraphDriver.Data.UpperDir}}" ${name})/stuck; touch $file; chattr +i $file`,
    );
  const unstick = () => must('find /var/lib/docker -name stuck -exec chattr -i {} +');

  // The other container of the unit for ecs-agent, since the real one is not to be had here.
  const run = 'docker run --name=ecs-agent --rm --net=host rollcall agent --listen 127.0.0.1:0';
  const ecsAgent = `folder=/run/systemd/system/amazon-ecs-agent.service.d
    printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/${run} --store etcd://127.0.0.1:2379/other\\nEnvironment=ECS_CLUSTER=demo\\n' >$folder/stand-in.conf
    systemctl daemon-reload`;
  await must(ecsAgent);

  for (const [unit, name] of [
    ['rollcall', 'rollcall'],
    ['amazon-ecs-agent', 'ecs-agent'],
  ] as const) {
    const running = async () => (await names()).some((line) => new RegExp(`^${name} Up`).test(line));
    const stuck = async () => (await names()).filter((line) => line.startsWith(`${name}-stuck-`));

    await t.test(`${unit}: it is renamed, and the unit starts`, async () => {
      await must(`systemctl restart ${unit}`, 120_000);
      await until('the container runs', 10_000 + SLACK_MS, running);
      await stick(name);
      await machine.run(`systemctl stop ${unit}`);
      assert.match((await names()).join(), new RegExp(`${name} (Dead|Removal In Progress)`));
      await must(`systemctl start ${unit}`, 120_000);
      await until('the container runs', 10_000 + SLACK_MS, running);
      assert.equal((await stuck()).length, 1);
      assert.match(
        await must(`journalctl --no-pager --output=cat --unit=${unit}`),
        new RegExp(`${name}: docker cannot remove the container of an earlier run; it is ${name}-stuck-\\d+ now`),
      );
    });

    await t.test(`${unit}: nor does it after docker was restarted, and once it can be removed, it is`, async () => {
      await stick(name);
      await machine.run(`systemctl stop ${unit}`);
      await must('systemctl restart docker', 120_000);
      await must(`systemctl start ${unit}`, 120_000);
      await until('the container runs', 10_000 + SLACK_MS, running);
      await unstick();
      await must(`systemctl restart ${unit}`, 120_000);
      await until('the container runs', 10_000 + SLACK_MS, running);
      assert.deepEqual(await stuck(), []);
    });

    await t.test(`${unit}: a stop ends it at any moment of such a start`, async () => {
      for (const instantMs of [100, 300, 500, 700, 900]) {
        await must(`systemctl stop ${unit}; systemctl start --no-block ${unit}`);
        await sleep(instantMs);
        const [, tookMs] = await timed(must(`systemctl stop ${unit}`));
        assert.ok(tookMs < STOPPED_WITHIN_MS, `${instantMs} ms: it took ${Math.round(tookMs)} ms`);
        assert.equal(await running(), false);
      }
    });

    await t.test(`${unit}: one that something else started under its name is replaced`, async () => {
      await must(`systemctl stop ${unit}`);
      await must(`docker run --detach --name=${name} --restart=always --net=host rollcall simulate --base-port 0`);
      await must(`systemctl start ${unit}`, 120_000);
      await until('the container runs', 10_000 + SLACK_MS, running);
      assert.doesNotMatch(await must(`docker inspect --format "{{.Args}}" ${name}`), /simulate/);
    });
  }
});
