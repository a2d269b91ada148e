import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { test } from 'node:test';
import { createGzip } from 'node:zlib';
import { until } from '../support/machine-time.ts';
import { IMAGE_FILE } from './support/host-paths.ts';
import { bootMachine } from './support/machine.ts';
import { property, SLACK_MS } from './support/unit-state.ts';

const MAX_COMPRESSED_BYTES = 60_000_000;
const LOCKED_DOWN = '--net=host --read-only --cap-drop=ALL --security-opt=no-new-privileges --log-driver=json-file';

test('the image is small', async (t) => {
  let bytes = 0;
  for await (const chunk of createReadStream(IMAGE_FILE).pipe(createGzip({ level: 6 }))) bytes += chunk.length;
  t.diagnostic(`${(bytes / 1e6).toFixed(1)} MB compressed`);
  assert.ok(bytes < MAX_COMPRESSED_BYTES, `${bytes} bytes`);
});

test('the image and the unit’s variants on a booted host', async (t) => {
  const machine = await bootMachine(t);
  const { must } = machine;
  const journal = (since: string) =>
    must(`journalctl --no-pager --output=cat --unit=rollcall --after-cursor='${since}'`);
  const cursor = async () => /-- cursor: (.*)/.exec(await must('journalctl --show-cursor --lines=0'))?.[1] ?? '';

  await t.test('has the runtime and the agent, and no shell', async () => {
    const files = (await must('docker create --name=files rollcall && docker export files | tar -t')).split('\n');
    await must('docker rm files');
    assert.ok(files.includes('usr/lib/rollcall/rollcall.cjs'));
    const told = `vm.Script = class extends vm.Script {
      constructor(text, options) { super(text, options); console.log(this.cachedDataRejected); }
    }; process.argv = ["node", "rollcall", "--version"]; require("/usr/lib/rollcall/start.cjs")`;
    assert.match(
      await must(`docker run --rm --entrypoint=/usr/bin/node rollcall -e '${told.replaceAll('\n', ' ')}'`),
      /^false\n\d+\.\d+\.\d+\n$/,
      'V8 takes the compiled code',
    );
    for (const file of files) assert.doesNotMatch(file, /(^|\/)(sh|bash|busybox|npm|apt|dpkg)$|node_modules/);
    const config = JSON.parse(await must('docker inspect --format "{{json .Config}}" rollcall'));
    assert.equal(config.User, '65532:65532');
    assert.equal(config.Labels['org.opencontainers.image.title'], 'rollcall');
    assert.match(await must('docker run --rm --net=host rollcall --version'), /^\d+\.\d+\.\d+\n$/);
  });

  await t.test('runs locked down, is healthy, and ends in order at SIGTERM', async () => {
    const health = '--health-interval=1s --health-start-period=1s';
    await must(
      `docker run --detach --name=alone ${LOCKED_DOWN} ${health} rollcall agent --store etcd://127.0.0.1:2379`,
    );
    const inspect = async (field: string) => (await must(`docker inspect --format '{{${field}}}' alone`)).trim();
    await until(
      'docker calls it healthy',
      20_000 + SLACK_MS,
      async () => (await inspect('.State.Health.Status')) === 'healthy',
    );
    await must('docker stop --time=10 alone');
    assert.equal(await inspect('.State.ExitCode'), '0');
    // Outside systemd no notification is sent, so that nothing is on stdout.
    const log = await must(
      'docker logs alone 2>/dev/null; docker logs alone 2>&1 >/dev/null | tail -1 >&2; docker rm alone',
    );
    assert.equal(log.trim(), 'alone');
  });

  await t.test('docker’s health check detects an agent that hangs', async () => {
    const health = '--health-interval=1s --health-retries=1 --health-start-period=0s';
    await must(
      `docker run --detach --name=hung ${LOCKED_DOWN} ${health} rollcall agent --store etcd://127.0.0.1:2379 --notify=off`,
    );
    await until(
      'it answers',
      20_000 + SLACK_MS,
      async () =>
        (await machine.run('docker exec hung /usr/bin/node /usr/lib/rollcall/rollcall.cjs health')).code === 0,
    );
    await must('kill -STOP $(docker inspect --format "{{.State.Pid}}" hung)');
    const status = async () => (await must("docker inspect --format '{{.State.Health.Status}}' hung")).trim();
    await until('docker calls it unhealthy', 20_000 + SLACK_MS, async () => (await status()) === 'unhealthy');
    await must('docker rm -f hung');
  });

  await t.test('systemd accepts the units without a warning', async () => {
    const { code, stdout, stderr } = await machine.run(
      'systemd-analyze verify /etc/systemd/system/rollcall.service /etc/systemd/system/amazon-ecs-agent.service',
    );
    assert.deepEqual([code, stdout, stderr], [0, '', '']);
  });

  await t.test('docker is checked if its socket is mounted, and a disk if it is', async () => {
    await must(
      `cp /etc/rollcall/rollcall.env /tmp/rollcall.env
      socket=/var/run/docker.sock
      mounts="--volume=$socket:$socket:ro --group-add=$(stat -c %g $socket) --volume=/var/lib/docker:/var/lib/docker:ro"
      printf '%s\\n' "ROLLCALL_DOCKER_ARGS=$mounts" ROLLCALL_DISK=/var/lib/docker >>/etc/rollcall/rollcall.env
      systemctl start rollcall`,
      60_000,
    );
    const checks = async (): Promise<{ name: string; status: string }[]> => {
      const { code, stdout } = await machine.run(`docker exec rollcall rollcall show ${machine.instanceId} -o json`);
      return code === 0 ? JSON.parse(stdout).health.checks : [];
    };
    const names = ['disk', 'docker', 'ecs-agent', 'metadata', 'notices'];
    await until('all checks have looked', 30_000 + SLACK_MS, async () => {
      assert.deepEqual((await checks()).map(({ name }) => name).toSorted(), names);
      return true;
    });
    assert.equal((await checks()).find(({ name }) => name === 'docker')?.status, 'passing');
    await must('systemctl stop rollcall; mv /tmp/rollcall.env /etc/rollcall/rollcall.env');
  });

  await t.test('an invalid store is named in the journal, and the unit retries', async () => {
    const since = await cursor();
    await must("echo 'ROLLCALL_STORE=zookeeper://10.0.0.1' >/etc/rollcall/rollcall.env");
    await machine.run('systemctl start rollcall', 120_000);
    assert.match(await journal(since), /rollcall agent: .*zookeeper/);
    await until('the next try', 10_000 + SLACK_MS, async () => Number(await property(machine, 'NRestarts')) >= 1);
    await must('systemctl stop rollcall');
  });

  await t.test('without its environment file the unit says what is missing, and starts once it exists', async () => {
    const since = await cursor();
    // An ecs-agent that runs: a start of rollcall would wait for one that is between two tries.
    const folder = '/run/systemd/system/amazon-ecs-agent.service.d';
    await must(
      `mkdir -p ${folder} && printf '[Service]\\nExecStart=\\nExecStart=/bin/sleep infinity\\nExecStop=\\nEnvironment=ECS_CLUSTER=demo\\n' >${folder}/stand-in.conf
      systemctl daemon-reload && systemctl restart amazon-ecs-agent`,
    );
    await must('rm /etc/rollcall/rollcall.env');
    // More often than systemd's own limit of starts allows, as an operator in a hurry does.
    await machine.run('for try in 1 2 3 4 5 6 7; do systemctl restart rollcall; done', 120_000);
    assert.match(await journal(since), /ROLLCALL_STORE is not set; write .* into \/etc\/rollcall\/rollcall\.env/);
    await must("echo 'ROLLCALL_STORE=etcd://127.0.0.1:2379' >/etc/rollcall/rollcall.env");
    await until('it is on the roll', 20_000 + SLACK_MS, async () =>
      /^registered as /.test(await property(machine, 'StatusText')),
    );
    await must('systemctl stop rollcall');
  });

  await t.test('without systemd-notify the unit says so and runs; the drop-in makes it count as started', async () => {
    const present = async () =>
      (await machine.etcdctl('get', '--keys-only', '--prefix', '/rollcall/v1/presence/')).includes(machine.instanceId);
    let since = await cursor();
    await must('mv /usr/bin/systemd-notify /usr/bin/systemd-notify.away; systemctl start --no-block rollcall');
    await until('the agent is on the roll', 20_000 + SLACK_MS, present);
    assert.match(await journal(since), /^rollcall: this host has no systemd-notify, .* no-notify\.conf/m);
    assert.doesNotMatch(await journal(since), /command not found/);
    await must('systemctl stop rollcall');

    since = await cursor();
    await must(
      'mkdir -p /etc/systemd/system/rollcall.service.d && cp /repository/units/rollcall.service.d/no-notify.conf /etc/systemd/system/rollcall.service.d/',
    );
    await must('systemctl daemon-reload; systemctl start rollcall', 120_000);
    await until('the agent is on the roll', 20_000 + SLACK_MS, present);
    assert.equal(await property(machine, 'ActiveState'), 'active');
    assert.doesNotMatch(await journal(since), /systemd-notify/);
    await must('systemctl stop rollcall');
  });

  await t.test('without a container the agent uses systemd-notify itself', async () => {
    await must('mv /usr/bin/systemd-notify.away /usr/bin/systemd-notify');
    const unit = '--unit=direct --property=Type=notify --property=NotifyAccess=all --property=WatchdogSec=8';
    const node = `/repository/node_modules/node-linux-${process.arch}/bin/node`;
    const agent = `${node} /repository/dist/rollcall.cjs agent --store etcd://127.0.0.1:2379`;
    await must(`systemd-run ${unit} ${agent}`, 120_000);
    const told = async (name: string) => (await must(`systemctl show direct --property=${name} --value`)).trim();
    await until('it says so', 20_000 + SLACK_MS, async () => /^registered as /.test(await told('StatusText')));
    await new Promise((resolve) => setTimeout(resolve, 18_000));
    assert.deepEqual([await told('ActiveState'), await told('Result')], ['active', 'success']);
    await must('systemctl stop direct');
    assert.doesNotMatch(await must('journalctl --no-pager --output=cat'), /cannot notify systemd|Watchdog timeout/);
  });
});
