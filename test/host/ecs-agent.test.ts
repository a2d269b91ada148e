import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../support/machine-time.ts';
import { addressOf, startLan } from './support/lan.ts';
import { bootMachine } from './support/machine.ts';
import { property, SLACK_MS } from './support/unit-state.ts';

/**
 * In place of ecs-agent's image: it listens on all addresses as ecs-agent does, on the introspection port and on that of
 * the tasks' credentials, and asks the metadata service for a token.
 */
const STAND_IN = `
const http = require('http');
const ask = http.request('http://169.254.169.254/latest/api/token', { method: 'PUT',
  headers: { 'X-aws-ec2-metadata-token-ttl-seconds': '60' } }, (answer) => serve(answer.statusCode));
ask.on('error', (error) => serve(error.code)).end();
const arn = 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/6b107562-f96a-4528-94dd-81f93d812a63';
const serve = (token) => [51678, 51679].map((port) => http.createServer((_, answer) => answer.end(JSON.stringify({
  Cluster: process.env.ECS_CLUSTER, ContainerInstanceArn: arn, Version: 'Amazon ECS Agent - v1.70.0 (*0e7482df)', token,
}))).listen(port));
process.on('SIGTERM', () => process.exit(0));
`;
const LOCAL =
  "exec 3<>/dev/tcp/127.0.0.1/51678 && printf 'GET /v1/metadata HTTP/1.0\\r\\n\\r\\n' >&3 && timeout 5 cat <&3 | tail -1";

test('ecs-agent’s unit on a booted host', async (t) => {
  const lan = await startLan(t, 1);
  const machine = await bootMachine(t, { lan, settings: { ROLLCALL_STORE: 'etcd://127.0.0.1:2379' } });
  // The simulated one makes room.
  process.kill(machine.ec2.pid, 'SIGUSR1');
  const entry = JSON.stringify(['/usr/bin/node', '-e', STAND_IN]);
  await machine.must(
    `docker create --name=stand-in rollcall:latest >/dev/null
    docker commit --change='ENTRYPOINT ${entry.replaceAll("'", `'"'"'`)}' --change='CMD []' stand-in ecs-stand-in >/dev/null
    docker rm stand-in >/dev/null
    mkdir -p /etc/ecs && printf 'ECS_CLUSTER=demo\\nECS_AGENT_IMAGE=ecs-stand-in\\n' >/etc/ecs/ecs.config`,
  );
  const start = async () => {
    await machine.must('systemctl start amazon-ecs-agent', 120_000);
    await until('ecs-agent answers', 60_000 + SLACK_MS, async () => (await machine.run(LOCAL)).code === 0);
  };
  const stop = () => machine.must('systemctl stop amazon-ecs-agent', 60_000);
  const journal = () => machine.must('journalctl --no-pager --output=cat --unit=amazon-ecs-agent');
  const rules = async (program = 'iptables') => {
    const all = (await machine.must(`${program} -S INPUT`)).trim().split('\n');
    return all.filter((rule) => /5167[89]/.test(rule)).map((rule) => /--dport (\d+)/.exec(rule)?.[1]);
  };
  /** curl's exit status from another host: 0 it is reached, 28 nothing comes back. */
  const reached = async (port: number) =>
    (await lan.run(`curl -s --output /dev/null --max-time 3 http://${addressOf(0)}:${port}/`)).code;

  await t.test('has the host’s network, so that it gets a token, and rollcall reads it', async () => {
    await start();
    assert.equal(JSON.parse(await machine.must(LOCAL)).token, 200);
    assert.equal(
      (await machine.must('docker inspect --format "{{.HostConfig.NetworkMode}}" ecs-agent')).trim(),
      'host',
    );
    await machine.must('systemctl start rollcall', 120_000);
    await until('rollcall has read it', 60_000 + SLACK_MS, async () =>
      /^registered as .* in demo, passing$/.test(await property(machine, 'StatusText')),
    );
  });

  await t.test('its ports are closed to other hosts, and no others are', async () => {
    assert.deepEqual((await rules()).toSorted(), ['51678', '51679']);
    assert.deepEqual((await rules('ip6tables')).toSorted(), ['51678', '51679']);
    assert.deepEqual([await reached(51_678), await reached(51_679)], [28, 28]);
    assert.equal(await reached(2379), 0, 'the network is there');
    assert.doesNotMatch(await journal(), /amazon-ecs-agent: /);
  });

  await t.test('a restart, and the end of the container, leave one rule each', async () => {
    await machine.must('systemctl restart amazon-ecs-agent', 120_000);
    await until('ecs-agent answers', 60_000 + SLACK_MS, async () => (await machine.run(LOCAL)).code === 0);
    const id = (await machine.must('docker inspect --format "{{.Id}}" ecs-agent')).trim();
    await machine.must('docker kill ecs-agent');
    await until('systemd has started another', 60_000 + SLACK_MS, async () => {
      const now = await machine.run('docker inspect --format "{{.Id}} {{.State.Running}}" ecs-agent');
      return now.code === 0 && !now.stdout.startsWith(id) && now.stdout.includes(' true');
    });
    assert.deepEqual((await rules()).toSorted(), ['51678', '51679']);
  });

  await t.test('a stop takes the rules away', async () => {
    await stop();
    assert.deepEqual([await rules(), await rules('ip6tables')], [[], []]);
  });

  await t.test('ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS opens the introspection port alone', async () => {
    await machine.must('echo ECS_ALLOW_OFFHOST_INTROSPECTION_ACCESS=true >>/etc/ecs/ecs.config');
    await start();
    assert.deepEqual([await reached(51_678), await reached(51_679)], [0, 28]);
    await stop();
    await machine.must('sed -i /OFFHOST/d /etc/ecs/ecs.config');
  });

  await t.test('it starts without iptables, and says what that means', async () => {
    await machine.must('for name in iptables ip6tables; do mv $(command -v $name) /root/; done');
    await start();
    assert.match(await journal(), /amazon-ecs-agent: no iptables on this host: ports 51678 and 51679/);
    assert.equal(await reached(51_678), 0);
    await stop();
    assert.equal((await machine.must('systemctl show amazon-ecs-agent --property=Result --value')).trim(), 'success');
  });
});
