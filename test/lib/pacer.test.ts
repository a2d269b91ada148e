import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { createPacer, takeTurn, unhurried } from '../../src/lib/pacer.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

describe('pace', () => {
  test('a call after a rest is made at once, and the next ones a gap apart', () => {
    const first = takeTurn(unhurried, 5_000, 2);
    const second = takeTurn(first.pace, 5_000, 2);
    const third = takeTurn(second.pace, 5_100, 2);
    assert.deepEqual([first.atMs, second.atMs, third.atMs], [5_000, 5_500, 6_000]);
    assert.equal(takeTurn(third.pace, 60_000, 2).atMs, 60_000);
  });

  test('no second sees more calls than the rate, and none waits longer than those before it need', () => {
    const arrivals = fc.array(fc.integer({ min: 0, max: 3_000 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(arrivals, fc.integer({ min: 1, max: 10 }), (gaps, perSecond) => {
        let [nowMs, pace] = [0, unhurried];
        const calls = gaps.map((gapMs) => {
          nowMs += gapMs;
          const turn = takeTurn(pace, nowMs, perSecond);
          pace = turn.pace;
          return { askedMs: nowMs, atMs: turn.atMs };
        });
        for (const [index, { askedMs, atMs }] of calls.entries()) {
          const inThisSecond = calls.filter((other) => other.atMs >= atMs && other.atMs < atMs + 1_000 - 1e-6);
          assert.ok(inThisSecond.length <= perSecond, `${inThisSecond.length} calls`);
          const backlog = calls.slice(0, index).filter((other) => other.atMs >= askedMs).length;
          assert.ok(atMs - askedMs <= ((backlog + 1) * 1_000) / perSecond + 1e-6);
        }
      }),
    );
  });
});

describe('pacer', () => {
  const { signal } = new AbortController();

  test('all callers share one rate, and one that aborts gives its turn to the next', async () => {
    const clock = simulatedClock();
    const turn = createPacer(clock, 2);
    const startMs = clock.monotonicMs();
    const turns: [string, number][] = [];
    const take = (name: string, by = signal) => turn(by).then(() => turns.push([name, clock.monotonicMs() - startMs]));
    await take('first');
    const gone = new AbortController();
    const givenUp = assert.rejects(take('gone', gone.signal), /gave up/);
    await clock.advance(100);
    gone.abort(new Error('gave up'));
    await givenUp;
    const others = Promise.all([take('second'), take('third')]);
    await clock.advance(2_000);
    await others;
    assert.deepEqual(turns, [
      ['first', 0],
      ['second', 500],
      ['third', 1_000],
    ]);
    await assert.rejects(turn(AbortSignal.abort(new Error('over'))), /over/);
  });
});
