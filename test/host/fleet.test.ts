import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../support/machine-time.ts';
import { addressOf, startLan } from './support/lan.ts';
import { bootMachine, type Machine } from './support/machine.ts';
import { property, SLACK_MS } from './support/unit-state.ts';

const TTL_MS = 10_000;

test('of three hosts with three etcd members one is cut off, and recovers', async (t) => {
  const lan = await startLan(t, 3);
  const members = [0, 1, 2].map((index) => `${addressOf(index)}:2379`).join(',');
  const settings = { ROLLCALL_STORE: `etcd://${members}`, ROLLCALL_PRESENCE_TTL: `${TTL_MS / 1_000}s` };
  const machines = await Promise.all([0, 1, 2].map((index) => bootMachine(t, { index, lan, settings })));
  const [first, , third] = machines as [Machine, Machine, Machine];

  /** Who is present, as the first host sees it through its agent. */
  const roll = async (): Promise<string[]> => {
    const list = await first.must('docker exec rollcall rollcall list --fields=instance --no-legend');
    return list.trim().split('\n').toSorted();
  };
  const ids = (of: readonly Machine[]) => of.map(({ instanceId }) => instanceId).toSorted();

  await Promise.all(machines.map((machine) => machine.must('systemctl start rollcall', 120_000)));
  await until('all three are on the roll', 30_000 + SLACK_MS, async () => {
    assert.deepEqual(await roll(), ids(machines));
    return true;
  });

  await lan.setLink(2, false);
  await until('the one that is cut off is gone', TTL_MS * 2 + 30_000 + SLACK_MS, async () => {
    assert.deepEqual(await roll(), ids(machines.slice(0, 2)));
    return true;
  });
  await until('it says so itself', 30_000 + SLACK_MS, async () =>
    /^not on the roll: /.test(await property(third, 'StatusText')),
  );
  assert.equal(await property(third, 'ActiveState'), 'active', 'an outage of the network is no reason to restart');

  await lan.setLink(2, true);
  await until('it is back', TTL_MS * 2 + 30_000 + SLACK_MS, async () => {
    assert.deepEqual(await roll(), ids(machines));
    return true;
  });
  for (const machine of machines) assert.equal(await property(machine, 'NRestarts'), '0');
});
