import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  apply,
  departureCause,
  initialPublisherState,
  type PlanInput,
  type PublisherState,
  plan,
} from '../../../src/agent/publisher/plan.ts';
import { encodeRecord } from '../../../src/record/codec.ts';
import type { Hold } from '../../../src/store/store.ts';
import { sampleRecord } from '../../support/sample-record.ts';

describe('departure cause', () => {
  test('what was announced is the cause; a recommendation takes no node away, nor does what is not known', () => {
    const after = (kind: string) => sampleRecord({ interruption: { kind, action: null, time: null } });
    const cause = (kind: string) => departureCause(after(kind), false);
    assert.equal(departureCause(sampleRecord(), false), 'stopped');
    assert.equal(departureCause(sampleRecord(), true), 'restart');
    assert.equal(departureCause(after('spot-interruption'), true), 'spot-interruption');
    assert.equal(cause('spot-interruption'), 'spot-interruption');
    assert.equal(cause('maintenance'), 'maintenance');
    assert.equal(cause('asg-termination'), 'asg-termination');
    assert.equal(cause('rebalance-recommendation'), 'stopped');
    assert.equal(cause('brand-new'), 'stopped');
  });
});

describe('plan', () => {
  const TTL_MS = 30_000;
  const record = sampleRecord();
  const desired = { record, json: encodeRecord(record) };
  const stay: PlanInput = { desired, leaving: false, ended: null };
  const leave: PlanInput = { ...stay, leaving: true };
  const NOW_MS = 1_000_000;

  const registration = {
    instanceId: record.ec2InstanceId,
    session: 's',
    since: '',
    ttlMs: TTL_MS,
    retentionMs: 86_400_000,
  };
  const held: PublisherState = {
    ...initialPublisherState(TTL_MS),
    phase: 'held',
    hold: { registration, ttlMs: TTL_MS, presenceLease: '1', retentionLease: '2' },
    heartbeatAtMs: NOW_MS,
    nextHeartbeatAtMs: NOW_MS + 10_000,
    nextRetentionRenewalAtMs: NOW_MS + 7_200_000,
    publishedJson: desired.json,
  };

  test('waits, and not forever, while the instance id is not known', () => {
    const step = plan(initialPublisherState(TTL_MS), NOW_MS, { ...stay, desired: null });
    assert.deepEqual(step, {
      action: 'wait',
      untilMs: NOW_MS + TTL_MS / 3,
      reason: 'the instance id is not known yet',
    });
  });

  test('a new session takes the registration over; one that lost its lease only asks for it back', () => {
    const first = plan(initialPublisherState(TTL_MS), NOW_MS, stay);
    assert.ok(first.action === 'register' && first.takeover);
    const again = plan({ ...held, phase: 'lost' }, NOW_MS, stay);
    assert.ok(again.action === 'register' && !again.takeover);
  });

  test('has nothing to write while nothing changes, and sleeps until the next heartbeat', () => {
    const step = plan(held, NOW_MS + 1, stay);
    assert.ok(step.action === 'wait');
    assert.equal(step.untilMs, NOW_MS + 10_000);
  });

  test('sends a heartbeat at a third of the TTL, before it writes a change', () => {
    const changed = { ...stay, desired: { record, json: 'changed' } };
    assert.equal(plan(held, NOW_MS + 1, changed).action, 'update');
    assert.equal(plan(held, NOW_MS + 10_000, changed).action, 'renew');
  });

  test('renews the retention when it is due', () => {
    assert.equal(
      plan({ ...held, nextHeartbeatAtMs: NOW_MS + 8e6, heartbeatAtMs: NOW_MS + 7.2e6 }, NOW_MS + 7.2e6, stay).action,
      'renew-retention',
    );
  });

  test('a failed heartbeat is not a lost lease: until the TTL has passed it only retries', () => {
    const failing = { ...held, trouble: { ...held.trouble, retryAtMs: NOW_MS + 29_900, error: 'connection refused' } };
    const step = plan(failing, NOW_MS + 29_899, stay);
    assert.ok(step.action === 'wait');
    assert.match(step.reason, /retrying: connection refused/);
    assert.equal(plan(failing, NOW_MS + 29_999, stay).action, 'renew');
  });

  test('after a whole TTL without a confirmed heartbeat it first asks whether the lease is left, and writes only where it is not', () => {
    const step = plan(held, NOW_MS + TTL_MS, stay);
    assert.ok(step.action === 'renew');
    assert.match(step.reason, /no confirmed heartbeat for 30s/);
    const end = { sentAtMs: NOW_MS + TTL_MS, nowMs: NOW_MS + TTL_MS, wallMs: 0, random: 0.5 };
    const lost = plan(apply.renew(held, step, { kind: 'lost' }, end), NOW_MS + TTL_MS, stay);
    assert.ok(lost.action === 'register' && !lost.takeover);
    const left = plan(apply.renew(held, step, { kind: 'renewed' }, end), NOW_MS + TTL_MS, stay);
    assert.equal(left.action, 'wait');
  });

  test('leaving departs once, also when the lease was lost, and at once when it was never registered', () => {
    assert.equal(plan(held, NOW_MS, leave).action, 'depart');
    assert.equal(plan({ ...held, phase: 'lost' }, NOW_MS, leave).action, 'depart');
    assert.equal(plan({ ...held, phase: 'departed' }, NOW_MS, leave).action, 'done');
    assert.equal(plan(initialPublisherState(TTL_MS), NOW_MS, leave).action, 'done');
  });

  test('a departure that finds nothing of this session in the store has nothing more to do', () => {
    const step = plan(held, NOW_MS, leave);
    assert.ok(step.action === 'depart');
    const end = { sentAtMs: NOW_MS, nowMs: NOW_MS, wallMs: 0, random: 0.5 };
    assert.equal(apply.depart(held, step, { kind: 'lost' }, end).phase, 'departed');
  });

  test('what is removed again and again is registered after growing pauses, not at the speed of the network', () => {
    let state = held;
    const pauses: number[] = [];
    for (let n = 0; n < 8; n += 1) {
      const call = { sentAtMs: NOW_MS, nowMs: NOW_MS, wallMs: 0, random: 1 };
      const end = { hold: state.hold as Hold, outcome: { kind: 'lost' as const } };
      const step = plan(state, NOW_MS, { ...stay, ended: end });
      assert.ok(step.action === 'hear');
      state = { ...apply.hear(state, step, step.end.outcome, call), phase: 'held' };
      pauses.push(Math.max(0, state.trouble.retryAtMs - NOW_MS));
    }
    assert.deepEqual(pauses, [0, 250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
  });

  test('what the watch told of this registration is heard before anything else, and of an earlier one not at all', () => {
    const { hold } = held;
    assert.ok(hold);
    const lost = { hold, outcome: { kind: 'lost' } } as const;
    const paused = { ...held, trouble: { ...held.trouble, retryAtMs: NOW_MS + 5_000, error: 'connection refused' } };
    const step = plan(paused, NOW_MS + 10_000, { ...stay, ended: lost });
    assert.ok(step.action === 'hear');
    const after = apply.hear(paused, step, step.end.outcome, { sentAtMs: 0, nowMs: NOW_MS, wallMs: 0, random: 0.5 });
    assert.deepEqual([after.phase, after.counts.losses], ['lost', 1]);
    assert.equal(plan(after, NOW_MS, { ...stay, ended: lost }).action, 'register', 'without the pause of before');
    const renewed = { ...held, hold: { ...hold, presenceLease: '3' } };
    assert.equal(plan(renewed, NOW_MS, { ...stay, ended: lost }).action, 'wait');
  });

  test('a superseded session does nothing more, whatever is due', () => {
    const step = plan({ ...held, phase: 'superseded', supersededBy: 'other' }, NOW_MS + 1e9, stay);
    assert.deepEqual(step, { action: 'done', reason: 'session other registered this node' });
  });
});
