import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { RollEntry } from '../../src/record/roll.ts';
import type { PastLoss } from '../../src/registry/loss-verdict.ts';
import { isMassLoss, type MassLossLimits, massLossNote } from '../../src/registry/mass-loss.ts';
import { replayChanges } from '../../src/registry/replay.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';
import { verdictDriver } from '../support/verdict-driver.ts';

describe('mass loss', () => {
  /** As the flag takes it: in thousandths of a percent, divided as the flag is. */
  const percent = fc.integer({ min: 1_000, max: 100_000 });
  const limitsOf = (thousandths: number, count: number) => ({ share: thousandths / 1_000 / 100, count });

  test('neither a small share of many nodes nor a large share of few nodes', () => {
    const limits = { share: 0.3, count: 5 };
    assert.deepEqual(
      [
        [4, 0],
        [5, 0],
        [30, 70],
        [31, 69],
      ].map(([vanished = 0, present = 0]) => isMassLoss(vanished, present, limits)),
      [false, true, false, true],
    );
    assert.equal(isMassLoss(50, 0, null), false);
  });

  test('the share is compared exactly, whatever floating point makes of it', () => {
    // Both products round to a neighbour of the share: 0.29 × 100 is 28.999999999999996, 0.07 × 100 is 7.000000000000001.
    assert.equal(isMassLoss(29, 71, { share: 0.29, count: 5 }), false);
    assert.equal(isMassLoss(7, 93, { share: 0.07, count: 5 }), false);
    const nodes = fc.oneof(fc.nat(100), fc.nat(1_000_000));
    fc.assert(
      fc.property(nodes, nodes, percent, (vanished, present, thousandths) => {
        const exact = BigInt(vanished) * 100_000n > BigInt(thousandths) * BigInt(vanished + present);
        assert.equal(isMassLoss(vanished, present, limitsOf(thousandths, 1)), vanished > 0 && exact);
      }),
    );
    // Exactly the share, of any share; and one node more.
    fc.assert(
      fc.property(fc.integer({ min: 1_000, max: 99_999 }), (thousandths) => {
        const limits = limitsOf(thousandths, 1);
        assert.equal(isMassLoss(thousandths, 100_000 - thousandths, limits), false);
        assert.equal(isMassLoss(thousandths + 1, 99_999 - thousandths, limits), true);
      }),
    );
  });

  test('the verdict, the replay and the note of a list agree about every loss', () => {
    const any = fc.record({ nodes: fc.integer({ min: 1, max: 60 }), lost: fc.nat(60), thousandths: percent });
    // Where formulas differ: exactly the share.
    const atLimit = fc.integer({ min: 1, max: 100 }).map((lost) => ({ nodes: 100, lost, thousandths: lost * 1_000 }));
    fc.assert(
      fc.property(fc.oneof(any, atLimit), fc.integer({ min: 1, max: 20 }), ({ nodes, lost, thousandths }, count) => {
        const vanished = Math.min(lost, nodes);
        const limits = limitsOf(thousandths, count);
        const verdict = isMassLoss(vanished, nodes - vanished, limits);
        assert.deepEqual(views(nodes, vanished, limits), { follower: verdict, past: verdict, note: verdict });
      }),
    );
  });

  /** What each view says of `vanished` nodes of a fleet that are lost at one revision, while the others are well. */
  function views(nodes: number, vanished: number, limits: MassLossLimits) {
    const presence = { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 };
    const entries: RollEntry[] = Array.from({ length: nodes }, (_, n) => ({
      record: sampleRecord({ ec2InstanceId: sampleInstanceId(n) }),
      presence: n < vanished ? null : presence,
    }));
    const gone = entries.slice(0, vanished).map(({ record }) => record.ec2InstanceId);

    const follower = verdictDriver(nodes, limits, () => ({ asked: 32, overdue: 0, afterMs: 10 }));
    if (vanished > 0) follower.change(...gone.map(follower.lost));
    follower.pass(10);

    const changes = gone.map((instanceId) => ({
      kind: 'presence' as const,
      instanceId,
      presence: null,
      previous: presence,
    }));
    const roll = { revision: '2', entries, skipped: [] };
    let past = 0;
    const takePast = (losses: readonly PastLoss[]) => {
      past = losses.length;
      return true;
    };
    replayChanges(roll, [{ revision: '2', changes }], '1', { limits, takePast, openLosses: () => new Map() });
    return {
      follower: follower.emitted.some(({ event }) => event.kind === 'uncertain'),
      past: past > 0,
      note: massLossNote(entries, limits, true) !== null,
    };
  }
});
