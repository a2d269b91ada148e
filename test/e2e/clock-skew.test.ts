import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '../support/machine-time.ts';
import { PATIENCE_MS, rollcall, startFleet, startRollcall } from '../support/rollcall-process.ts';

const HOUR_MS = 3_600_000;

for (const [shiftMs, words, skew] of [
  [-HOUR_MS, '60 min behind', -3_600],
  [5 * 60_000, '5 min ahead of', 300],
] as const) {
  test(`a node whose clock is ${words} the others' is named, and its ages are right`, async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'rollcall-clock-'));
    t.after(() => rm(dir, { recursive: true, force: true }));
    const shift = join(dir, 'shift.cjs');
    await writeFile(
      shift,
      `const now = Date.now; const Real = Date; Date.now = () => now() + ${shiftMs};\n` +
        'globalThis.Date = class extends Real { constructor(...a) { a.length ? super(...a) : super(Real.now()); } };\n',
    );
    const store = `sqlite:${join(dir, 'roll.db')}`;
    const fleet = await startFleet(t, 1);
    const [id = ''] = fleet.instanceIds;
    const args = ['agent', '--store', store, '--listen', '127.0.0.1:0'];
    startRollcall(t, args, { ...(await fleet.environment(1)), NODE_OPTIONS: `--require=${shift}` });
    const list = (...more: string[]) => rollcall(['list', '--store', store, ...more]);
    await until('it is on the roll', PATIENCE_MS, async () => (await list()).stdout.includes(id));
    await until('its clock is known', PATIENCE_MS, async () => {
      const [node] = JSON.parse((await list('-o', 'json')).stdout).containerInstances;
      return node.clockSkewSeconds === skew;
    });
    const { stderr } = await list();
    assert.equal(stderr, `warning: the clock of ${id} is ${words} EC2's; the times in its record are by it\n`);
    const show = (await rollcall(['show', id, '--store', store])).stdout;
    const ages = [...show.matchAll(/\d{4}-\S+Z \(([^)]*)\)/g)].map(([, age]) => age ?? '');
    assert.ok(ages.length >= 4, show);
    for (const age of ages) assert.match(age, /^(?:[0-2]m)?\d+m?s\d*(?: ago)?$/, show);
    assert.match(show, new RegExp(`^Clock +the clock of ${id} is ${words} EC2's`, 'm'));
  });
}
