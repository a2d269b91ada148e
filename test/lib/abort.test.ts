import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, test } from 'node:test';
import { abortable, linkSignals, onAbort, untilAborted } from '../../src/lib/abort.ts';

const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;
const CAUSE = new Error('leaving');

describe('on abort', () => {
  test('calls once, with the reason', () => {
    const parent = new AbortController();
    const reasons: unknown[] = [];
    onAbort(parent.signal, (reason) => reasons.push(reason));
    parent.abort(CAUSE);
    parent.abort(new Error('again'));
    assert.deepEqual(reasons, [CAUSE]);
    assert.equal(listeners(parent.signal), 0);
  });

  test('calls at once where the signal has aborted already', () => {
    const signal = AbortSignal.abort(CAUSE);
    const reasons: unknown[] = [];
    onAbort(signal, (reason) => reasons.push(reason));
    assert.deepEqual(reasons, [CAUSE]);
    assert.equal(listeners(signal), 0);
  });

  test('once disposed it neither calls nor listens', () => {
    const parent = new AbortController();
    {
      using _aborting = onAbort(parent.signal, () => assert.fail('called'));
      assert.equal(listeners(parent.signal), 1);
    }
    assert.equal(listeners(parent.signal), 0);
    parent.abort(CAUSE);
  });

  test('no signal never aborts', () => {
    onAbort(undefined, () => assert.fail('called'))[Symbol.dispose]();
  });
});

describe('abortable', () => {
  test('settles as the work does, and leaves no listener', async () => {
    const { signal } = new AbortController();
    assert.equal(await abortable(Promise.resolve(7), signal), 7);
    await assert.rejects(abortable(Promise.reject(new Error('broken')), signal), /broken/);
    assert.equal(listeners(signal), 0);
  });

  test('rejects with the reason of the signal while the work goes on', async () => {
    const parent = new AbortController();
    const waiting = abortable(new Promise(() => {}), parent.signal);
    parent.abort(CAUSE);
    await assert.rejects(waiting, CAUSE);
    assert.equal(listeners(parent.signal), 0);
  });

  test('an aborted signal rejects at once, and the failure of the work is still handled', async () => {
    // An unhandled rejection would fail this test.
    await assert.rejects(abortable(Promise.reject(new Error('broken')), AbortSignal.abort(CAUSE)), CAUSE);
    await new Promise(setImmediate);
  });

  test('until aborted never resolves, and rejects with the reason', async () => {
    const parent = new AbortController();
    const waiting = untilAborted(parent.signal);
    assert.equal(await Promise.race([waiting, new Promise((resolve) => setImmediate(resolve, 'waits'))]), 'waits');
    parent.abort(CAUSE);
    await assert.rejects(waiting, CAUSE);
  });
});

describe('link signals', () => {
  test('aborts with the first of several, and leaves no listener on the others once it is disposed', () => {
    const [first, second] = [new AbortController(), new AbortController()];
    {
      using linked = linkSignals(first.signal, undefined, second.signal);
      second.abort(CAUSE);
      first.abort(new Error('late'));
      assert.equal(linked.signal.reason, CAUSE);
    }
    const third = new AbortController();
    linkSignals(third.signal, new AbortController().signal)[Symbol.dispose]();
    assert.deepEqual(
      [first, second, third].map(({ signal }) => listeners(signal)),
      [0, 0, 0],
    );
  });

  test('is aborted from the start where one of them is', () => {
    using linked = linkSignals(new AbortController().signal, AbortSignal.abort(CAUSE));
    assert.equal(linked.signal.reason, CAUSE);
  });

  test('disposing does not abort it, and it can still be aborted by itself', () => {
    const parent = new AbortController();
    const linked = linkSignals(parent.signal);
    linked[Symbol.dispose]();
    parent.abort(CAUSE);
    assert.equal(linked.signal.aborted, false);
    linked.abort(new Error('own'));
    assert.match(String(linked.signal.reason), /own/);
  });

  test('a long-lived parent keeps nothing of it reachable', async () => {
    const parent = new AbortController();
    const seen = (() => {
      using linked = linkSignals(parent.signal);
      return new WeakRef(linked);
    })();
    const { setFlagsFromString } = await import('node:v8');
    const { runInNewContext } = await import('node:vm');
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    await new Promise(setImmediate);
    collect();
    assert.equal(seen.deref(), undefined);
    assert.equal(parent.signal.aborted, false);
  });
});
