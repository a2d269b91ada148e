import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { count, deployWorld, lastLine } from '../support/deploy-world.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS, rollStates } from '../support/rollcall-process.ts';

test('a machine that does not answer is named with what is known of it', async (t) => {
  const w = await deployWorld(t, '1.0.0');
  const [, , third] = w.fleet.machines;
  assert.ok(third);
  w.fleet.broken.add(third.id);
  const result = await w.deploy('--timeout', '15s');
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
    /1 of 3 machines did not answer the roll within 15s: 10\.113\.0\.25; on each see journalctl.*ROLLCALL_STORE/,
  );
  assert.match(result.stdout, /10\.113\.0\.23 +i-/);
});

test('a machine whose agent ended is named as departed or lost', async (t) => {
  const w = await deployWorld(t, '0.11.8', 2);
  assert.equal((await w.deploy()).code, 0);
  const [first] = w.fleet.machines;
  assert.ok(first);
  w.fleet.broken.add(first.id);
  await until('it departed', PATIENCE_MS, async () => count(await rollStates(w.store), 'departed') === 1);
  const result = await w.deploy('--timeout', '1s');
  assert.equal(result.code, 1);
  assert.match(result.stderr, /not answered: 10\.113\.0\.23 .*departed \(stopped\) at 20/);
});

test('an agent that survives a replacement or an undeployment is not counted as done', async (t) => {
  const w = await deployWorld(t, '1.0.0', 2);
  assert.equal((await w.deploy()).code, 0);
  const [, second] = w.fleet.machines;
  assert.ok(second);
  w.fleet.deaf.add(second.id);
  await w.writeUnits('2');
  const replaced = await w.deploy('--timeout', '8s');
  assert.equal(replaced.code, 1);
  assert.match(
    replaced.stderr,
    /not answered: 10\.113\.0\.24 .*still answers through an agent from before the unit was deployed/,
  );
  const again = await w.deploy('--timeout', '3s');
  assert.match(again.stderr, /nothing to change/);
  assert.equal(again.code, 1, 'nor for a run that finds the new unit deployed');
  assert.match(again.stderr, /10\.113\.0\.24 .*still answers through an agent from before/);
  const gone = await w.undeploy('--timeout', '4s');
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /not stopped: 10\.113\.0\.24 \(machine \w+\): i-\w+ is present on the roll/);
  assert.match(
    lastLine(gone.stderr),
    /rollcall\.service has not stopped on 1 machines after 4s: 10\.113\.0\.24; .*done so far: stop rollcall\.service; run it again/,
  );
  assert.deepEqual(w.fleet.state.unitNames(), ['amazon-ecs-agent.service', 'rollcall.service']);
  w.fleet.deaf.delete(second.id);
  const rest = await w.undeploy('--keep-ecs-agent');
  assert.equal(rest.code, 0, rest.stderr);
  assert.doesNotMatch(rest.stderr, /stop rollcall/, 'that was done before');
  assert.deepEqual(w.fleet.state.unitNames(), ['amazon-ecs-agent.service']);
});

test('a store outage during the wait does not end it; a machine in another cluster is noted', async (t) => {
  const w = await deployWorld(t, '1.0.0', 2);
  w.fleet.broken.add(w.fleet.machines[0]?.id ?? '');
  const waiting = w.fleet.script('deploy', ['--store', w.store, '--cluster', 'other', '--units', w.units, '--yes']);
  await until('one has answered', PATIENCE_MS, async () => count(await rollStates(w.store), 'present') === 1);
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

test('Ctrl-C during the wait keeps the units deployed, says so, and leaves no files behind', async (t) => {
  const w = await deployWorld(t, '1.0.0', 1);
  w.fleet.broken.add(w.fleet.machines[0]?.id ?? '');
  const temporary = await mkdtemp(join(tmpdir(), 'rollcall-tmp-'));
  t.after(() => rm(temporary, { recursive: true, force: true }));
  const running = w.deployInGroup({ TMPDIR: temporary });
  await until('it waits', PATIENCE_MS, () => running.stderr().includes('waiting for'));
  assert.equal((await readdir(temporary)).length, 1);
  process.kill(-running.pid, 'SIGINT');
  assert.equal(await running.ended, 130);
  assert.match(lastLine(running.stderr()), /interrupted while waiting; the units are deployed, run it again/);
  assert.deepEqual(await readdir(temporary), []);
  assert.deepEqual(w.fleet.state.unitNames(), ['amazon-ecs-agent.service', 'rollcall.service']);
});

test('an interruption during a change names that change, also if the terminal is closed', async (t) => {
  const w = await deployWorld(t, '1.0.0', 1);
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGHUP', 129],
  ] as const) {
    w.fleet.state.putFault('hang start');
    const running = w.deployInGroup({});
    await until('it starts a unit', PATIENCE_MS, async () =>
      (await w.fleet.calls()).some((call) => call.startsWith('start')),
    );
    process.kill(-running.pid, signal);
    assert.equal(await running.ended, status);
    assert.match(
      lastLine(running.stderr()),
      /interrupted during: start amazon-ecs-agent\.service; done so far: .*; run it again/,
    );
    w.fleet.state.putFault('');
    assert.equal((await w.undeploy()).code, 0);
  }
});

test('a store without the fleet’s machines is noted before anything is undeployed', async (t) => {
  const w = await deployWorld(t, '1.0.0', 1);
  assert.equal((await w.deploy()).code, 0);
  const elsewhere = await w.undeploy('--dry-run', '--store', `${w.store}/elsewhere`);
  assert.match(
    elsewhere.stdout,
    /note: rollcall\.service is launched, but no machine is on this roll; check that --store/,
  );
  assert.doesNotMatch((await w.undeploy('--dry-run')).stdout, /note/);
});

test('a record that this checkout is too old to read gives a warning, beside the machine that did not answer', async (t) => {
  const w = await deployWorld(t, '1.0.0', 1);
  w.fleet.broken.add(w.fleet.machines[0]?.id ?? '');
  const newer = { key: '/rollcall/v1/records/i-00000001', value: '{"schemaVersion":99}' };
  const put = await fetch(`${w.etcd.clientUrl}/v3/kv/put`, {
    method: 'POST',
    body: JSON.stringify({ key: btoa(newer.key), value: btoa(newer.value) }),
  });
  assert.equal(put.status, 200);
  const { stderr } = await w.deploy('--timeout', '2s');
  assert.match(stderr, /scripts\/deploy: warning: skipped .*i-00000001.*upgrade this reader/);
});
