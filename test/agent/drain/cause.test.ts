import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DrainConfig } from '../../../src/agent/drain/cause.ts';
import { type CauseInput, judgeCause, watchHealth } from '../../../src/agent/drain/cause.ts';
import { MAINTENANCE_LEAD_MS } from '../../../src/agent/notice-due.ts';
import type { Interruption } from '../../../src/record/record.ts';
import { sampleRecord } from '../../support/sample-record.ts';

const NOW_MS = 5_000_000;
const WALL_MS = Date.UTC(2026, 0, 1);
const config: DrainConfig = { on: ['interruption', 'critical'], criticalAfterMs: 300_000, maxSharePercent: 10 };
const well = { critical: false, sinceMs: 0 };
const judge = (
  more: Partial<CauseInput> & { interruption?: Interruption } = {},
  settings: Partial<DrainConfig> = {},
) => {
  const { interruption = null, ...input } = more;
  const record = sampleRecord({ interruption });
  const all = { record, health: well, noticesKnown: true, nowMs: NOW_MS, wallMs: WALL_MS, ...input };
  return judgeCause({ ...config, ...settings }, all);
};
const notice = (kind: string, action: string | null, time: string | null = null) => ({
  interruption: { kind, action, time },
});

for (const [kind, action] of [
  ['spot-interruption', 'terminate'],
  ['spot-interruption', 'stop'],
  ['asg-termination', 'terminate'],
] as const) {
  test(`${kind} ${action} is a cause at once, where interruptions are`, () => {
    assert.deepEqual(judge(notice(kind, action)), {
      ...{ kind: 'stands', reason: `${kind} ${action}` },
      key: `${kind} ${action}`,
    });
    assert.equal(judge(notice(kind, action), { on: ['critical'] }).kind, 'over');
  });
}

test('a recommendation to rebalance is none', () => {
  assert.equal(judge(notice('rebalance-recommendation', null)).kind, 'over');
});

test('how near maintenance is goes by EC2’s clock, not by that of a node that is an hour behind', () => {
  const interruption = {
    kind: 'maintenance',
    action: 'system-reboot',
    time: new Date(WALL_MS + 3_600_000).toISOString(),
  };
  const record = sampleRecord({ interruption, clockSkewSeconds: -3_600 });
  assert.equal(judge({ record }).kind, 'stands');
  assert.equal(judge({ record: { ...record, clockSkewSeconds: 0 } }).kind, 'over');
});

test('maintenance is a cause once it is near or under way, and says when; at an unknown time it is none', () => {
  const inMs = (ms: number) => notice('maintenance', 'system-reboot', new Date(WALL_MS + ms).toISOString());
  assert.deepEqual(judge(inMs(MAINTENANCE_LEAD_MS + 60_000)), { kind: 'over', untilMs: NOW_MS + 60_000 });
  assert.equal(judge(inMs(MAINTENANCE_LEAD_MS)).kind, 'stands');
  assert.equal(judge(inMs(-3_600_000)).kind, 'stands');
  assert.equal(judge(notice('maintenance', 'instance-stop')).kind, 'over');
});

test('critical is a cause once it was so for long, and over once it was not so for as long', () => {
  const critical = (forMs: number) => judge({ health: { critical: true, sinceMs: NOW_MS - forMs } });
  const stands = critical(300_000);
  assert.ok(stands.kind === 'stands' && stands.key === 'critical');
  const soon = critical(299_000);
  assert.deepEqual([soon.kind, soon.kind === 'undecided' && soon.untilMs], ['undecided', NOW_MS + 1_000]);
  const calm = (forMs: number) => judge({ health: { critical: false, sinceMs: NOW_MS - forMs } });
  assert.equal(calm(299_000).kind, 'undecided');
  assert.equal(calm(300_000).kind, 'over');
  assert.equal(judge({ health: { critical: true, sinceMs: 0 } }, { on: ['interruption'] }).kind, 'over');
});

test('an unread notice is not none', () => {
  assert.equal(judge({ noticesKnown: false }).kind, 'undecided');
  assert.equal(judge({ noticesKnown: false }, { on: ['critical'] }).kind, 'over');
});

test('health counts from when it changed, warning as not critical', () => {
  const first = watchHealth(null, 'critical', 10);
  assert.deepEqual(first, { critical: true, sinceMs: 10 });
  assert.equal(watchHealth(first, 'critical', 20), first);
  const warning = watchHealth(first, 'warning', 30);
  assert.deepEqual(warning, { critical: false, sinceMs: 30 });
  assert.equal(watchHealth(warning, 'passing', 40), warning);
});
