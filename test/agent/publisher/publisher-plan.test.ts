import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  apply,
  applyFailure,
  departureCause,
  initialPublisherState,
  type PlanInput,
  type PublisherState,
  plan,
} from '../../../src/agent/publisher/publisher-plan.ts';
import { encodeRecord } from '../../../src/record/codec.ts';
import type { NodeRecord } from '../../../src/record/record.ts';
import type { Hold } from '../../../src/store/store.ts';
import { sampleRecord } from '../../support/sample-record.ts';

describe('departure cause', () => {
  const WALL_MS = Date.parse('2026-01-01T12:00:00Z');
  const after = (kind: string, time: string | null = null) =>
    sampleRecord({ interruption: { kind, action: null, time } });
  const cause = (record: NodeRecord, restarting = false) => departureCause(record, restarting, WALL_MS);

  test('what was announced is the cause; a recommendation takes no node away, nor does what is not known', () => {
    assert.equal(cause(sampleRecord()), 'stopped');
    assert.equal(cause(sampleRecord(), true), 'restart');
    assert.equal(cause(after('spot-interruption'), true), 'spot-interruption');
    assert.equal(cause(after('spot-interruption')), 'spot-interruption');
    assert.equal(cause(after('asg-termination')), 'asg-termination');
    assert.equal(cause(after('rebalance-recommendation')), 'stopped');
    assert.equal(cause(after('brand-new')), 'stopped');
  });

  test('maintenance is the cause once it is near or under way; weeks before it, a restart is a restart', () => {
    assert.equal(cause(after('maintenance', '2026-01-01T12:30:00Z')), 'maintenance');
    assert.equal(cause(after('maintenance', '2026-01-01T11:00:00Z'), true), 'maintenance');
    assert.equal(cause(after('maintenance', '2026-01-15T12:00:00Z')), 'stopped');
    assert.equal(cause(after('maintenance', '2026-01-15T12:00:00Z'), true), 'restart');
    assert.equal(cause(after('maintenance')), 'stopped');
    // By EC2's clock, not by that of a node that is an hour behind.
    const soon = after('maintenance', '2026-01-01T13:15:00Z');
    assert.equal(cause({ ...soon, clockSkewSeconds: -3_600 }), 'maintenance');
    assert.equal(cause({ ...soon, clockSkewSeconds: 0 }), 'stopped');
  });
});

describe('plan', () => {
  const TTL_MS = 30_000;
  const record = sampleRecord();
  const desired = { record, json: encodeRecord(record) };
  const stay: PlanInput = { desired, leaving: false, ended: null, wallMs: 0 };
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
    hold: { registration, ttlMs: TTL_MS, presenceLease: '1', retentionLease: '2', mayComeLate: false },
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
    const trouble = {
      ...held.trouble,
      action: 'renew',
      retryAtMs: NOW_MS + 29_900,
      error: 'connection refused',
    } as const;
    const failing = { ...held, trouble };
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

  test('a refused write, however long its pause, holds up no heartbeat', () => {
    const trouble = { ...held.trouble, action: 'update', retryAtMs: NOW_MS + 30_000, error: 'full' } as const;
    const refused = { ...held, publishedJson: null, trouble };
    const wait = plan(refused, NOW_MS + 1, stay);
    assert.ok(wait.action === 'wait');
    assert.equal(wait.untilMs, NOW_MS + 10_000);
    assert.equal(plan(refused, NOW_MS + 10_000, stay).action, 'renew');
  });

  describe('a registration that was lost', () => {
    const failed = { ...held, trouble: { ...held.trouble, action: 'renew', error: 'connection refused' } } as const;
    const lostAfter = (silentMs: number, before: PublisherState = failed) => {
      const [step, nowMs] = [plan(before, NOW_MS + TTL_MS, stay), NOW_MS + silentMs];
      assert.ok(step.action === 'renew');
      return apply.renew(before, step, { kind: 'lost' }, { sentAtMs: nowMs, nowMs, wallMs: 0, random: 0.5 });
    };
    const counted = (otherNodes: number, random: number) => {
      const [state, nowMs] = [lostAfter(TTL_MS), NOW_MS + TTL_MS];
      const step = plan(state, nowMs, stay);
      assert.ok(step.action === 'count-nodes');
      return apply['count-nodes'](state, step, otherNodes, { sentAtMs: nowMs, nowMs, wallMs: 0, random });
    };

    test('while the store answered is asked for at once', () => {
      assert.equal(plan(lostAfter(TTL_MS - 1), NOW_MS + TTL_MS - 1, stay).action, 'register');
    });

    test('because the agent itself was paused is asked for at once', () => {
      assert.equal(plan(lostAfter(10 * TTL_MS, held), NOW_MS + 10 * TTL_MS, stay).action, 'register');
    });

    test('in an outage waits its turn among the others, and a lone node for nothing', () => {
      assert.equal(plan(counted(0, 0.99), NOW_MS + TTL_MS, stay).action, 'register');
      const wait = plan(counted(2_000, 0.5), NOW_MS + TTL_MS, stay);
      assert.ok(wait.action === 'wait');
      assert.equal(wait.untilMs, NOW_MS + TTL_MS + 3_000);
      assert.equal(plan(counted(1e6, 1), NOW_MS + 2 * TTL_MS, stay).action, 'register', 'within a TTL');
    });

    test('is asked for after a pause where the nodes cannot be counted', () => {
      const [state, nowMs] = [lostAfter(TTL_MS), NOW_MS + TTL_MS];
      const step = plan(state, nowMs, stay);
      assert.ok(step.action === 'count-nodes');
      const end = { sentAtMs: nowMs, nowMs, wallMs: 0, random: 1 };
      const uncounted = applyFailure(state, step, new Error('permission denied'), end);
      const wait = plan(uncounted, nowMs, stay);
      assert.ok(wait.action === 'wait');
      assert.equal(wait.untilMs, nowMs + 250);
      assert.equal(plan(uncounted, wait.untilMs, stay).action, 'register');
    });
  });

  describe('calls that fail', () => {
    const call = (action: 'renew' | 'update' | 'register', atMs: number) => {
      const why = { reason: '' };
      const steps = {
        renew: { ...why, action: 'renew', hold: held.hold as Hold },
        update: { ...why, action: 'update', hold: held.hold as Hold, desired },
        register: { ...why, action: 'register', desired, takeover: true },
      } as const;
      return { step: steps[action], end: { sentAtMs: atMs, nowMs: atMs, wallMs: 0, random: 1 } };
    };
    /** The pause after so many failures in a row, at its longest. */
    const pauseAfter = (failures: number, action: 'renew' | 'update' | 'register', atMs: number) => {
      const { step, end } = call(action, atMs);
      let state = held;
      for (let n = 0; n < failures; n += 1) state = applyFailure(state, step, new Error('refused'), end);
      return state.trouble.retryAtMs - atMs;
    };

    test('are repeated after growing pauses: up to TTL/6 while the lease may live, TTL/2 after it, a TTL for updates', () => {
      const lateMs = NOW_MS + TTL_MS;
      assert.deepEqual(
        [1, 2, 3].map((n) => pauseAfter(n, 'renew', NOW_MS)),
        [250, 500, 1_000],
      );
      assert.equal(pauseAfter(20, 'renew', NOW_MS), TTL_MS / 6);
      assert.equal(pauseAfter(20, 'renew', lateMs), TTL_MS / 2);
      assert.equal(pauseAfter(20, 'update', NOW_MS), TTL_MS);
      assert.equal(pauseAfter(20, 'register', lateMs), TTL_MS / 2);
    });

    test('every other time are not repeated sooner for those that succeed: each success earns back one failure', () => {
      const { step, end } = call('renew', NOW_MS);
      let state = held;
      for (let n = 0; n < 4; n += 1) state = applyFailure(state, step, new Error('refused'), end);
      for (let n = 0; n < 10; n += 1) {
        state = apply.renew(state, step as Parameters<typeof apply.renew>[1], { kind: 'renewed' }, end);
        assert.equal(state.trouble.error, null);
        state = applyFailure(state, step, new Error('refused'), end);
        assert.equal(state.trouble.retryAtMs - NOW_MS, 2_000);
      }
      for (let n = 0; n < 5; n += 1)
        state = apply.renew(state, step as Parameters<typeof apply.renew>[1], { kind: 'renewed' }, end);
      assert.equal(applyFailure(state, step, new Error('refused'), end).trouble.retryAtMs - NOW_MS, 250);
    });
  });

  test('leaving departs once, also when the lease was lost, and at once when it was never registered', () => {
    assert.equal(plan(held, NOW_MS, leave).action, 'depart');
    assert.equal(plan({ ...held, phase: 'lost' }, NOW_MS, leave).action, 'depart');
    // The registration that got no answer may be carried out late, with its own lease.
    const unanswered = { ...(held.hold as Hold), presenceLease: '77' };
    const departing = plan({ ...held, phase: 'lost' }, NOW_MS, { ...leave, unanswered });
    assert.ok(departing.action === 'depart' && departing.hold === unanswered);
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

  test('a loss that a heartbeat learns ends the pause of an update that failed: the registration is due at once', () => {
    const trouble = { ...held.trouble, action: 'update', retryAtMs: NOW_MS + 30_000, error: 'full' } as const;
    const refused: PublisherState = { ...held, publishedJson: null, trouble };
    const at = (nowMs: number) => ({ sentAtMs: nowMs, nowMs, wallMs: 0, random: 0.5 });
    const heartbeat = plan(refused, NOW_MS + 10_000, stay);
    assert.ok(heartbeat.action === 'renew');
    const lost = apply.renew(refused, heartbeat, { kind: 'lost' }, at(NOW_MS + 10_000));
    assert.equal(plan(lost, NOW_MS + 10_000, stay).action, 'register');
    // As one that the watch told: what is lost again and again waits.
    const again = { ...lost, phase: 'held' as const };
    const pausing = apply.renew(again, heartbeat, { kind: 'lost' }, at(NOW_MS + 10_001));
    assert.equal(plan(pausing, NOW_MS + 10_001, stay).action, 'wait');
  });

  test('a superseded session does nothing more, whatever is due', () => {
    const step = plan({ ...held, phase: 'superseded', supersededBy: 'other' }, NOW_MS + 1e9, stay);
    assert.deepEqual(step, { action: 'done', reason: 'session other registered this node' });
  });
});
