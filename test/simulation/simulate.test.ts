import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { fewerInQuickRun } from '../support/quick-run.ts';
import { REAL_PARTS } from './agent.ts';
import { FOUND } from './found.ts';
import { MUTATIONS } from './mutations.ts';
import { type Fault, type Scenario, scenarioOf } from './scenario.ts';
import { shrink } from './shrink.ts';
import { simulate } from './simulate.ts';

/** A few nodes for half an hour with all kinds of faults, small enough for every run of the tests. */
const small = (seed: number): Scenario => {
  const { faults, ...rest } = scenarioOf(seed, 5);
  const nodes = 6;
  return {
    ...rest,
    nodes,
    faults: faults.map((each) => (each.host < 1_000 ? { ...each, host: each.host % nodes } : each)),
  };
};

describe('a fleet in simulated time', () => {
  for (const seed of [1, 2].slice(0, fewerInQuickRun(2))) {
    it(`keeps every promise with the faults of seed ${seed}`, async () => {
      const { violation, nodeHours } = await simulate(small(seed));
      assert.equal(violation, null);
      assert.ok(nodeHours >= 2, `${nodeHours} node-hours`);
    });
  }

  it('is the same again from the same seed', async () => {
    const short = (seed: number) => ({ ...small(seed), minutes: 10 });
    const outcomes = [await simulate(short(3)), await simulate(short(3))];
    assert.deepEqual(outcomes[0], outcomes[1]);
    assert.notEqual(outcomes[0]?.steps, (await simulate(short(4))).steps);
  });

  for (const { what, scenario } of FOUND) {
    it(`no longer breaks a promise: ${what}`, async () => {
      assert.equal((await simulate(scenario)).violation, null);
    });
  }
});

test('a dead node that stays is found also while a member of the store is down', async () => {
  const parts =
    MUTATIONS.find(({ what }) => what === 'the presence is put on the retention lease')?.parts ?? REAL_PARTS;
  const each = { host: 0, member: 1, force: 0.5 };
  const faults: Fault[] = [
    { ...each, kind: 'stop-member', atMs: 60_000, forMs: 540_000 },
    { ...each, kind: 'crash', atMs: 120_000, forMs: 480_000 },
  ];
  const scenario = { seed: 1, nodes: 2, members: 3, readers: 0, ttlMs: 30_000, minutes: 5, faults };
  assert.equal((await simulate(scenario)).violation, null);
  assert.equal((await simulate(scenario, parts)).violation?.invariant, 'no dead node stays present');
});

test('a scenario that breaks a promise becomes small', async () => {
  const parts = MUTATIONS.find(({ what }) => what === 'a departure is written without its cause')?.parts ?? REAL_PARTS;
  const noise: Fault[] = Array.from({ length: 12 }, (_, index) => {
    return {
      kind: 'change',
      atMs: 70_000 + 5_000 * index,
      forMs: 1_000,
      host: index % 6,
      member: 0,
      force: index / 12,
    };
  });
  const stop: Fault = { kind: 'stop', atMs: 100_000, forMs: 30_000, host: 4, member: 0, force: 0.5 };
  const whole = { seed: 1, nodes: 6, members: 3, readers: 2, ttlMs: 30_000, minutes: 30, faults: [...noise, stop] };
  const found = await shrink(whole, parts, 60_000);
  assert.deepEqual(found, { ...whole, nodes: 1, members: 1, readers: 0, minutes: 3, faults: [{ ...stop, host: 0 }] });
});
