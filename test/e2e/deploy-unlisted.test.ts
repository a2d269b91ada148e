import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count, deployWorld, lastLine } from '../support/deploy-world.ts';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS, rollStates } from '../support/rollcall-process.ts';

test('a host whose fleetd is frozen is named by deploy, and undeploy is not done while its agent runs', async (t) => {
  const w = await deployWorld(t, '1.0.0');
  assert.equal((await w.deploy()).code, 0);
  const [, , third] = w.fleet.machines;
  assert.ok(third);
  // As fleet sees it half a minute later: the machine's key has expired, and its units still run.
  w.fleet.deaf.add(third.id);
  w.fleet.state.putMachines(w.fleet.machines.filter((machine) => machine !== third));
  const where = `10\\.113\\.0\\.25 \\(machine ${third.id}\\)`;

  const same = await w.deploy();
  assert.equal(same.code, 0, same.stderr);
  assert.match(same.stderr, new RegExp(`note: ${where}: i-\\w+ is present on the roll, but fleet does not list`));
  assert.match(lastLine(same.stderr), /all 2 machines that fleet lists .*; also on the roll: 10\.113\.0\.25$/);

  await w.writeUnits('2');
  const replaced = await w.deploy();
  assert.equal(replaced.code, 1, replaced.stderr);
  assert.match(
    lastLine(replaced.stderr),
    /all 2 machines that fleet lists .*, but where fleet does not list the machine an earlier unit still runs: 10\.113\.0\.25; .*fleet\.service/,
  );

  const rehearsal = await w.undeploy('--dry-run');
  assert.match(rehearsal.stdout, new RegExp(`note: ${where}: i-\\w+ is present on the roll, but fleet does not list`));
  const gone = await w.undeploy();
  assert.equal(gone.code, 1, gone.stderr);
  assert.match(
    lastLine(gone.stderr),
    /stopped on the 2 machines that fleet lists, and gone from fleet, but still present on the roll, on machines that fleet does not list: 10\.113\.0\.25; .*fleet\.service/,
  );
  assert.deepEqual(w.fleet.state.unitNames(), []);
  assert.equal(count(await rollStates(w.store), 'present'), 1);

  const again = await w.undeploy();
  assert.equal(again.code, 1, again.stderr);
  assert.match(lastLine(again.stderr), /10\.113\.0\.25; .*fleet\.service/);

  // It thaws, is listed again and ends what fleet no longer has.
  w.fleet.deaf.delete(third.id);
  w.fleet.state.putMachines(w.fleet.machines);
  await until('the agent has left', PATIENCE_MS, async () => count(await rollStates(w.store), 'present') === 0);
  const nothing = await w.undeploy();
  assert.equal(nothing.code, 0, nothing.stderr);
  assert.match(nothing.stderr, /nothing to change/);
});

test('a machine that dies while deploy waits stays in the count, is named, and the status is 1', async (t) => {
  const w = await deployWorld(t, '1.0.0');
  const [, , third] = w.fleet.machines;
  assert.ok(third);
  w.fleet.broken.add(third.id);
  const waiting = w.deployInGroup({}, '--timeout', '30s');
  await until('it waits', PATIENCE_MS, () => waiting.stderr().includes('2 of 3 machines have answered'));
  w.fleet.state.putMachines(w.fleet.machines.slice(0, 2));
  assert.equal(await waiting.ended, 1, waiting.stderr());
  assert.doesNotMatch(waiting.stderr(), /2 of 2|all 2/);
  assert.match(
    waiting.stderr(),
    new RegExp(`not answered: 10\\.113\\.0\\.25 \\(machine ${third.id}\\): fleet no longer lists it.*never answered`),
  );
  assert.match(lastLine(waiting.stderr()), /1 of 3 machines did not answer the roll within 30s: 10\.113\.0\.25/);
});

test('a machine that joins while deploy waits is waited for', async (t) => {
  const w = await deployWorld(t, '1.0.0');
  const [, , third] = w.fleet.machines;
  assert.ok(third);
  w.fleet.state.putMachines(w.fleet.machines.slice(0, 2));
  w.fleet.broken.add(w.fleet.machines[1]?.id ?? '');
  const waiting = w.deployInGroup({});
  await until('it waits', PATIENCE_MS, () => waiting.stderr().includes('of 2 machines have answered'));
  w.fleet.broken.add(third.id);
  w.fleet.state.putMachines(w.fleet.machines);
  await until('it waits for three', PATIENCE_MS, () => waiting.stderr().includes('of 3 machines have answered'));
  w.fleet.broken.clear();
  assert.equal(await waiting.ended, 0, waiting.stderr());
  assert.match(lastLine(waiting.stderr()), /all 3 machines have answered the roll$/);
});

test('undeploy waits until ecs-agent has stopped on every machine, and names where it has not', async (t) => {
  const w = await deployWorld(t, '1.0.0', 2);
  assert.equal((await w.deploy()).code, 0);
  const [, second] = w.fleet.machines;
  assert.ok(second);
  w.fleet.slow.add(second.id);
  const late = await w.undeploy('--timeout', '12s');
  assert.equal(late.code, 1, late.stderr);
  assert.match(
    late.stderr,
    new RegExp(
      `not stopped: 10\\.113\\.0\\.24 \\(machine ${second.id}\\): amazon-ecs-agent\\.service deactivating/stop-sigterm`,
    ),
  );
  assert.match(
    lastLine(late.stderr),
    /amazon-ecs-agent\.service has not stopped on 1 machines after 12s: 10\.113\.0\.24.*done so far: .*run it again/,
  );
  assert.deepEqual(w.fleet.state.unitNames(), ['amazon-ecs-agent.service']);

  // Its fleetd freezes before it has said that the unit stopped: nothing was seen of that.
  w.fleet.deaf.add(second.id);
  const unseen = w.fleet.start('undeploy', ['--store', w.store, '--yes', '--timeout', '15s']);
  await until('it waits', PATIENCE_MS, () => unseen.stderr().includes('waiting for 10.113.0.24'));
  w.fleet.state.putMachines(w.fleet.machines.slice(0, 1));
  assert.equal(await unseen.ended, 1, unseen.stderr());
  assert.match(unseen.stderr(), /not stopped: 10\.113\.0\.24 .*: fleet no longer lists it/);

  w.fleet.deaf.clear();
  // One that fleet lists, and of which it shows no unit's state: not whether ecs-agent has ended.
  w.fleet.state.putMachines([...w.fleet.machines, { id: 'c'.repeat(32), ip: '10.113.0.99' }]);
  const waiting = w.fleet.start('undeploy', ['--store', w.store, '--yes']);
  await until('it waits', PATIENCE_MS, () => waiting.stderr().includes('waiting for 10.113.0.24'));
  w.fleet.slow.clear();
  assert.equal(await waiting.ended, 0, waiting.stderr());
  assert.match(
    lastLine(waiting.stderr()),
    /done: amazon-ecs-agent\.service stopped where fleet shows a state of them, amazon-ecs-agent\.service not seen on 10\.113\.0\.99, and gone from fleet; fleet did not have rollcall\.service$/,
  );
  assert.match(waiting.stderr(), /has stopped where fleet shows a state of it; not seen on 10\.113\.0\.99$/m);
  assert.match(
    waiting.stderr(),
    /note: amazon-ecs-agent\.service was not seen on 10\.113\.0\.99: fleet showed no state/,
  );
});

test('nodes of other clusters on the same roll are no part of the fleet', async (t) => {
  const w = await deployWorld(t, '1.0.0', 3);
  const elsewhere = await w.fleet.script('deploy', [
    ...['--store', w.store, '--cluster', 'demo', '--units', w.units, '--yes'],
  ]);
  assert.equal(elsewhere.code, 0, elsewhere.stderr);
  const record = JSON.parse(
    await w.etcd.etcdctl('get', '--print-value-only', '--prefix', '/rollcall/v1/records/', '--limit', '1'),
  );
  assert.equal(record.cluster, 'demo');
  const other = { ...record, ec2InstanceId: 'i-00000009', cluster: 'other', machineId: 'f'.repeat(32) };
  const put = (node: object) => w.etcd.etcdctl('put', '/rollcall/v1/records/i-00000009', JSON.stringify(node));
  await put(other);
  await w.etcd.etcdctl(
    'put',
    '/rollcall/v1/presence/i-00000009',
    JSON.stringify({ session: record.sidecar.session, since: record.registeredAt, ttlSeconds: 30 }),
  );
  const gone = await w.undeploy();
  assert.equal(gone.code, 0, gone.stderr);
  assert.match(gone.stderr, /note: 1 node of another cluster is present on this roll/);
  assert.match(lastLine(gone.stderr), /^scripts\/undeploy: done: /);

  // Of a node without a cluster it is not known whose it is: neither done, nor advice to stop what may be another fleet's.
  await put({ ...other, cluster: null });
  const possibly = await w.undeploy();
  assert.equal(possibly.code, 1, possibly.stderr);
  assert.match(possibly.stderr, /note: .*: i-00000009 is present on the roll, .*; it is possibly another fleet's/);
  assert.match(
    lastLine(possibly.stderr),
    /10\.113\.0\.\d+; possibly another fleet's, .*: check which fleet each belongs to$/,
  );
});

test('a replacement says how many nodes restart at once, and why not one after the other', async (t) => {
  const w = await deployWorld(t, '1.0.0', 2);
  assert.equal((await w.deploy()).code, 0);
  await w.writeUnits('2');
  const { stdout } = await w.deploy('--dry-run');
  assert.match(
    stdout,
    /would replace rollcall\.service: fleet restarts it on all 2 machines at once, it cannot replace a global unit on one after the other/,
  );
  assert.match(
    stdout,
    /2 nodes leave the roll at once \(departed, stopped\) and are back some seconds later \(restarted\)/,
  );
});
