import assert from 'node:assert/strict';
import { until } from '../../support/machine-time.ts';
import type { Machine } from './machine.ts';

/** What a busy machine may take on top of what a unit promises. */
export const SLACK_MS = 20_000;

/** Of rollcall's unit, as systemd tells it. */
export async function property(machine: Machine, name: string): Promise<string> {
  return (await machine.must(`systemctl show rollcall --property=${name} --value`)).trim();
}

/** What etcd has of the machine. */
export async function readNode(
  machine: Machine,
): Promise<{ present: boolean; session: string; departure: { cause: string } | null }> {
  const presence = await machine.etcdctl('get', '--print-value-only', `/rollcall/v1/presence/${machine.instanceId}`);
  const record = JSON.parse(
    await machine.etcdctl('get', '--print-value-only', `/rollcall/v1/records/${machine.instanceId}`),
  );
  return { present: presence !== '', session: record.sidecar.session, departure: record.departure };
}

/** All of them, running or not. */
export const containers = async (machine: Machine): Promise<string[]> =>
  (await machine.must('docker ps --all --no-trunc --format "{{.ID}} {{.Names}}"')).trim().split('\n').filter(Boolean);

/** What systemd and docker are at, for the message of a test that fails: the machine is gone afterwards. */
const whatItDoes = async (machine: Machine): Promise<string> =>
  (
    await machine.run(
      'systemctl list-jobs; systemctl status --no-pager --full rollcall docker; docker ps --all; journalctl --no-pager --output=short-precise --lines=150',
    )
  ).stdout;

/** Waits until another session than `before` is registered and the unit says so; answers with it. */
export async function backOnTheRoll(machine: Machine, before: string): Promise<string> {
  try {
    await until('a new session is on the roll', 30_000 + SLACK_MS, async () => {
      const now = await readNode(machine);
      return now.present && now.session !== before && now.departure === null;
    });
    await until('the unit runs and says so', 10_000 + SLACK_MS, async () =>
      /^registered as /.test(await property(machine, 'StatusText')),
    );
  } catch (error) {
    throw new Error(`${error}\n${await whatItDoes(machine)}`);
  }
  assert.equal(await property(machine, 'SubState'), 'running');
  assert.equal((await containers(machine)).length, 1, 'there is one container, no double and no orphan');
  return (await readNode(machine)).session;
}
