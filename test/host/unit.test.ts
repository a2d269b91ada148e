import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timed, until } from '../support/machine-time.ts';
import { bootMachine } from './support/machine.ts';
import { backOnTheRoll, containers, property, readNode, SLACK_MS } from './support/unit-state.ts';

/** More than an agent on a busy machine may be late. */
const WATCHDOG_SECONDS = 10;

/** The words of systemd when it drops a notification. */
const REFUSED = /Got notification message from PID|Cannot find unit for notify message|reception only permitted/;

test('the unit on a booted host', async (t) => {
  const machine = await bootMachine(t);
  await machine.must(
    `mkdir -p /etc/systemd/system/rollcall.service.d && printf '[Service]\\nWatchdogSec=${WATCHDOG_SECONDS}\\n' >/etc/systemd/system/rollcall.service.d/test.conf && systemctl daemon-reload && systemctl enable rollcall`,
  );
  let session = '';

  await t.test(
    'while an outgoing connection has its port it is on the roll, and answers once the port is free',
    async () => {
      // Linux has to choose this one port. etcd ends the connection after its answer, which leaves no TIME_WAIT here.
      await machine.must(
        `set -e; mkdir /run/proc; mount -t proc proc /run/proc; file=/run/proc/sys/net/ipv4/ip_local_port_range; range=$(<$file); echo 51690 51690 >$file; mkfifo /run/answer
        setsid bash -c 'exec 3<>/dev/tcp/127.0.0.1/2379; : >/run/connected; cat /run/answer >&3; cat <&3' &>/dev/null &
        for _ in {1..100}; do [ -e /run/connected ] && break; sleep 0.1; done; echo $range >$file; [ -e /run/connected ]`,
      );
      await machine.must('systemctl start rollcall', 120_000);
      await until('the node is on the roll', 60_000 + SLACK_MS, async () =>
        /^registered as .*; no HTTP: port 51690 is taken /.test(await property(machine, 'StatusText')),
      );
      const answers = async () => (await machine.run(': </dev/tcp/127.0.0.1/51690')).code === 0;
      assert.equal(await answers(), false);
      assert.equal((await readNode(machine)).present, true);
      await machine.must(`printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >/run/answer`);
      await until('the agent answers', 10_000 + SLACK_MS, answers);
      assert.equal(await property(machine, 'NRestarts'), '0');
      await machine.must('systemctl stop rollcall');
    },
  );

  await t.test('starts: active once the agent serves HTTP, and then its status has the registration', async () => {
    await machine.must('systemctl start rollcall', 120_000);
    assert.equal(await property(machine, 'ActiveState'), 'active');
    session = await backOnTheRoll(machine, '');
    assert.match(
      await property(machine, 'StatusText'),
      new RegExp(`^registered as ${machine.instanceId} in demo, passing$`),
    );
    const machineId = (await machine.must('cat /etc/machine-id')).trim();
    const record = await machine.etcdctl('get', '--print-value-only', `/rollcall/v1/records/${machine.instanceId}`);
    assert.equal(JSON.parse(record).machineId, machineId);
  });

  await t.test('neither waits for an ecs-agent that hangs in its start, nor starts one that was stopped', async () => {
    const folder = '/run/systemd/system/amazon-ecs-agent.service.d';
    const ecsAgent = async () =>
      (await machine.must('systemctl show amazon-ecs-agent --property=ActiveState --value')).trim();
    await machine.must(
      `mkdir -p ${folder} && printf '[Service]\\nExecStartPre=\\nExecStartPre=/bin/sleep 3600\\n' >${folder}/hangs.conf
      systemctl daemon-reload; systemctl start --no-block amazon-ecs-agent`,
    );
    await until('ecs-agent’s start hangs', 10_000 + SLACK_MS, async () => (await ecsAgent()) === 'activating');
    await machine.must('systemctl restart rollcall');
    session = await backOnTheRoll(machine, session);
    assert.equal(await ecsAgent(), 'activating');

    await machine.must(`systemctl stop amazon-ecs-agent; rm ${folder}/hangs.conf; systemctl daemon-reload`);
    await machine.must('kill -KILL $(systemctl show rollcall --property=MainPID --value)');
    session = await backOnTheRoll(machine, session);
    // "failed" is how the stop left it, since that ended its start.
    assert.equal(await ecsAgent(), 'failed');
  });

  await t.test('survives its watchdog limit, and systemd refuses no notification', async () => {
    const restarts = await property(machine, 'NRestarts');
    await new Promise((resolve) => setTimeout(resolve, WATCHDOG_SECONDS * 2_000));
    assert.equal(await property(machine, 'NRestarts'), restarts);
    assert.equal((await readNode(machine)).session, session);
    const journal = await machine.must('journalctl --no-pager --output=cat');
    assert.doesNotMatch(journal, REFUSED);
  });

  await t.test('says what is wrong with the node, and keeps running', async () => {
    const restarts = await property(machine, 'NRestarts');
    process.kill(machine.ec2.pid, 'SIGUSR1');
    await until('the unit says that ecs-agent is away', 60_000 + SLACK_MS, async () =>
      /critical \(ecs-agent: .*refused/.test(await property(machine, 'StatusText')),
    );
    process.kill(machine.ec2.pid, 'SIGUSR2');
    assert.equal(await property(machine, 'NRestarts'), restarts);
  });

  await t.test('docker’s health check reads the agent’s health', async () => {
    const told = await machine.must('docker exec rollcall /usr/bin/node /usr/lib/rollcall/rollcall.cjs health');
    assert.match(told, /^healthy: http:\/\/127\.0\.0\.1:51690\/healthz\n$/);
  });

  await t.test('a frozen agent is killed and restarted', async () => {
    const restarts = Number(await property(machine, 'NRestarts'));
    await machine.must('docker kill --signal=STOP rollcall');
    await until(
      'systemd has restarted it',
      WATCHDOG_SECONDS * 1_000 + 30_000 + SLACK_MS,
      async () => Number(await property(machine, 'NRestarts')) > restarts,
    );
    session = await backOnTheRoll(machine, session);
    assert.match(await machine.must('journalctl --no-pager --output=cat --unit=rollcall'), /Watchdog timeout/);
  });

  for (const [what, command] of [
    [
      'docker’s client',
      'kill -KILL $(pgrep --exact docker --parent $(systemctl show rollcall --property=MainPID --value))',
    ],
    ['the unit’s shell', 'kill -KILL $(systemctl show rollcall --property=MainPID --value)'],
    ['the container', 'kill -KILL $(docker inspect --format "{{.State.Pid}}" rollcall)'],
    ['dockerd', 'kill -KILL $(systemctl show docker --property=MainPID --value)'],
  ] as const) {
    await t.test(`after ${what} is killed there is no second agent, and the node is back on the roll`, async () => {
      await machine.must(command);
      session = await backOnTheRoll(machine, session);
    });
  }

  await t.test('while docker cannot start, rollcall keeps trying, and is back with it', async () => {
    const folder = '/run/systemd/system/docker.service.d';
    await machine.must(
      `mkdir -p ${folder} && printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' >${folder}/broken.conf
      systemctl daemon-reload; kill -KILL $(systemctl show docker --property=MainPID --value)`,
    );
    const docker = async () => (await machine.must('systemctl show docker --property=ActiveState --value')).trim();
    await until('docker has given up', 30_000 + SLACK_MS, async () => (await docker()) === 'failed');
    const restarts = Number(await property(machine, 'NRestarts'));
    await until(
      'two tries more',
      20_000 + SLACK_MS,
      async () => Number(await property(machine, 'NRestarts')) >= restarts + 2,
    );
    // The test does not start docker: that its fault is mended is enough.
    await machine.must(
      `rm ${folder}/broken.conf; systemctl daemon-reload; systemctl reset-failed docker docker.socket`,
    );
    session = await backOnTheRoll(machine, session);
  });

  await t.test('an agent whose registration is taken over ends, and is not restarted', async () => {
    const other = 'docker run --detach --name=other --net=host rollcall agent --listen 127.0.0.1:0';
    await machine.must(`${other} --store etcd://127.0.0.1:2379`);
    await until(
      'the unit has ended',
      30_000 + SLACK_MS,
      async () => (await property(machine, 'ActiveState')) === 'failed',
    );
    assert.equal(await property(machine, 'ExecMainStatus'), '3');
    const restarts = await property(machine, 'NRestarts');
    await new Promise((resolve) => setTimeout(resolve, 7_000)); // longer than RestartSec
    assert.deepEqual(
      [await property(machine, 'ActiveState'), await property(machine, 'NRestarts')],
      ['failed', restarts],
    );
    assert.match((await containers(machine)).join(), /^[0-9a-f]{64} other$/);
    await machine.must('docker rm -f other');
    await machine.must('systemctl start rollcall', 120_000);
    session = await backOnTheRoll(machine, session);
  });

  await t.test('when stopped, it departs within a second and leaves no container', async () => {
    const [, tookMs] = await timed(machine.must('systemctl stop rollcall'));
    const now = await readNode(machine);
    assert.deepEqual([now.present, now.departure?.cause], [false, 'stopped']);
    assert.ok(tookMs < 1_000 + SLACK_MS, `it took ${Math.round(tookMs)} ms`);
    t.diagnostic(`systemctl stop took ${Math.round(tookMs)} ms`);
    assert.deepEqual(await containers(machine), []);
    assert.equal(await property(machine, 'Result'), 'success');
  });

  await t.test('when docker is stopped, it departs, and comes back with docker', async () => {
    await machine.must('systemctl start rollcall', 120_000);
    session = await backOnTheRoll(machine, session);
    await machine.must('systemctl stop docker.socket docker.service', 120_000);
    const gone = await readNode(machine);
    assert.deepEqual([gone.present, gone.departure?.cause], [false, 'stopped']);
    await machine.must('systemctl start docker.service', 120_000);
    session = await backOnTheRoll(machine, session);
  });

  await t.test('a shutdown of the host is a departure', async () => {
    await machine.run('systemctl poweroff');
    await machine.off(60_000 + SLACK_MS);
    const now = await readNode(machine);
    assert.deepEqual([now.present, now.departure?.cause], [false, 'stopped']);
  });
});
