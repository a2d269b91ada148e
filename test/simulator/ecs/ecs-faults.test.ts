import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EcsFaults, nextFault, parseEcsFaults } from '../../../src/simulator/ecs/server.ts';

const none: EcsFaults = new Map();

/** Which of the next requests of `operation` meet a fault. */
function met(faults: EcsFaults, operation: string, requests: number): (string | null)[] {
  let now = faults;
  return Array.from({ length: requests }, () => {
    const next = nextFault(now, operation);
    now = next.faults;
    return next.fault?.fault ?? null;
  });
}

test('a share of the requests is spread evenly', () => {
  const faults = parseEcsFaults(none, { all: { fault: 'throttle', share: 0.3 } });
  assert.equal(met(faults, 'ListClusters', 100).filter(Boolean).length, 30);
  assert.equal(met(faults, 'ListClusters', 10).filter(Boolean).length, 3);
});

test('a fault that is to happen some times is over then, whatever its share', () => {
  assert.deepEqual(met(parseEcsFaults(none, { StartTask: { fault: 'cut', times: 2 } }), 'StartTask', 3), [
    'cut',
    'cut',
    null,
  ]);
  const rare = parseEcsFaults(none, { all: { fault: 'cut', times: 2, share: 0.5 } });
  assert.deepEqual(met(rare, 'StartTask', 6), [null, 'cut', null, 'cut', null, null]);
});

test('an operation’s own fault wins over that of all, and what is not named stays', () => {
  const faults = parseEcsFaults(parseEcsFaults(none, { all: 'throttle' }), { StartTask: 'deny' });
  assert.deepEqual(met(faults, 'StartTask', 1), ['deny']);
  assert.deepEqual(met(faults, 'ListClusters', 1), ['throttle']);
  const lifted = parseEcsFaults(faults, { all: 'none' });
  assert.deepEqual([...lifted.keys()], ['StartTask']);
});

test('bad faults are usage errors that name what is allowed', () => {
  const cases: [unknown, RegExp][] = [
    [[], /expected a JSON object/],
    [{ ListCluster: 'deny' }, /unknown key "ListCluster"; use any of all, CreateCluster/],
    [{ all: 'sleepy' }, /^fault of all: "sleepy": unknown; use one of none, throttle/],
    [{ all: { fault: 'deny', times: 0 } }, /times: expected a whole number above 0, got 0$/],
    [{ all: { fault: 'deny', share: 1.5 } }, /share: expected a number above 0 to 1, got 1.5$/],
    [{ all: { fault: 'slow', delayMs: -1 } }, /delayMs: expected 0 to 120000, got -1$/],
  ];
  for (const [value, message] of cases) {
    assert.throws(() => parseEcsFaults(none, value), { name: 'UsageError', message });
  }
});
