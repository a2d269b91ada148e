import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BothSides } from '../../src/audit/compare.ts';
import { compareRolls } from '../../src/audit/compare.ts';
import { type AuditMemory, emptyAuditMemory, remember } from '../../src/audit/history.ts';
import type { ContainerInstance } from '../../src/ecs/ecs-api.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { absentNode, ago, NOW_MS, sampleArn, sampleInstance, sampleNode, sampleSides } from './sample-sides.ts';

const verdictsOf = (sides: BothSides, memory: AuditMemory = emptyAuditMemory) => compareRolls(sides, memory, NOW_MS);
const only = (
  entries: readonly RollEntry[],
  instances: readonly ContainerInstance[],
  overrides: Partial<BothSides> = {},
) => {
  const [verdict, ...rest] = verdictsOf(sampleSides(entries, instances, overrides));
  assert.ok(verdict);
  assert.deepEqual(rest, []);
  return verdict;
};
const kinds = (...args: Parameters<typeof sampleSides>) => verdictsOf(sampleSides(...args)).map(({ kind }) => kind);
const health = (status: 'critical' | 'warning', since: string, reason = 'connection refused') => ({
  status,
  since,
  checks: [{ name: 'ecs-agent', status, reason, since }],
});

test('a node that is equal on both sides agrees, also while it is DRAINING or REGISTERING', () => {
  assert.equal(only([sampleNode(1)], [sampleInstance(1)]).kind, 'agreeing');
  assert.equal(only([sampleNode(1)], [sampleInstance(1, { status: 'DRAINING' })]).kind, 'agreeing');
  const registering = { status: 'REGISTERING', agentConnected: false };
  assert.equal(only([sampleNode(1)], [sampleInstance(1, registering)]).kind, 'agreeing');
});

test('an unknown ARN or cluster in the record is not a mismatch', () => {
  const blank = sampleNode(1, { containerInstanceArn: null, cluster: null });
  assert.equal(only([blank], [sampleInstance(1)]).kind, 'agreeing');
  assert.equal(only([blank], [sampleInstance(1, { agentConnected: false })]).kind, 'disconnected-now');
});

test('a ghost has the last state in its record, and whether its host seems to run', () => {
  const departed = absentNode(1, { cause: 'spot-interruption', at: ago(7) });
  const ghost = only([departed], [sampleInstance(1, { agentConnected: false })]);
  assert.equal(ghost.kind, 'ghost');
  assert.equal(ghost.since, ago(7));
  assert.match(ghost.reason, /^departed \(spot-interruption\) at 2026.*last health passing.*until it is deregistered$/);
  const lost = only([absentNode(1, null, { health: health('critical', ago(9)) })], [sampleInstance(1)]);
  assert.equal(lost.kind, 'ghost');
  assert.equal(lost.since, null);
  assert.match(
    lost.reason,
    /^lost, last health critical since \S+ \(ecs-agent: connection refused\); .*the host seems to run without rollcall$/,
  );
  assert.match(only([], [sampleInstance(1)]).reason, /^never on the roll, or forgotten; registered in ECS at/);
});

test('a present node whose ARN belongs to another instance in ECS is a mismatch, without a ghost', () => {
  const renamed = sampleInstance(1, { ec2InstanceId: sampleInstanceId(9) });
  const verdict = only([sampleNode(1)], [renamed]);
  assert.deepEqual([verdict.kind, verdict.instance], ['mismatch', renamed]);
  // With the copied instance present too, both have a verdict, and the container instance is in one of them.
  const copy = sampleNode(2, { containerInstanceArn: sampleArn(1) });
  assert.deepEqual(kinds([sampleNode(1), copy], [renamed]), ['mismatch', 'mismatch']);
  // If the rightful instance is present, it agrees.
  assert.deepEqual(kinds([sampleNode(1), copy], [sampleInstance(1)]), ['agreeing', 'mismatch']);
});

test('a container instance registered in the last 5 minutes is not a ghost yet', () => {
  assert.equal(only([], [sampleInstance(1, { registeredAt: ago(4) })]).kind, 'registering');
  assert.equal(only([], [sampleInstance(1, { registeredAt: ago(6) })]).kind, 'ghost');
  assert.equal(only([], [sampleInstance(1, { registeredAt: ago(6), status: 'REGISTERING' })]).kind, 'ghost');
  assert.equal(only([], [sampleInstance(1, { registeredAt: null })]).kind, 'ghost');
  // It was on the roll, and is gone.
  assert.equal(only([absentNode(1, null)], [sampleInstance(1, { registeredAt: ago(4) })]).kind, 'ghost');
});

test('a DEREGISTERING container instance is not a difference, and an INACTIVE one is ignored', () => {
  const going = sampleInstance(1, { status: 'DEREGISTERING', agentConnected: false });
  assert.equal(only([], [going]).kind, 'deregistering');
  assert.equal(only([absentNode(1, null)], [going]).kind, 'deregistering');
  assert.equal(only([sampleNode(1)], [going]).kind, 'deregistering');
  const gone = sampleInstance(1, { status: 'INACTIVE' });
  assert.deepEqual(kinds([], [gone]), []);
  const stray = only([sampleNode(1)], [gone]);
  assert.deepEqual([stray.kind, stray.reason], ['stray', 'ECS has deregistered it (INACTIVE)']);
  assert.equal(only([sampleNode(1)], [sampleInstance(1, { status: 'REGISTRATION_FAILED' })]).kind, 'stray');
});

test('a node whose record cannot be read is not a ghost, whether its key is named or only counted', () => {
  const skipped = [{ key: `v1/records/${sampleInstanceId(1)}`, reason: 'schemaVersion 99 is newer than 1' }];
  const verdict = only([], [sampleInstance(1)], { roll: { entries: [], skipped } });
  assert.deepEqual(
    [verdict.kind, verdict.reason],
    ['unreadable', 'its record cannot be read: schemaVersion 99 is newer than 1'],
  );
  assert.equal(only([], [sampleInstance(2)], { roll: { entries: [], skipped } }).kind, 'ghost');
  const more = [{ key: 'v1/', reason: '7 more keys that cannot be read' }];
  assert.equal(only([], [sampleInstance(2)], { roll: { entries: [], skipped: more } }).kind, 'unreadable');
});

test('a node whose presence cannot be read is not lost', () => {
  const skipped = [{ key: `v1/presence/${sampleInstanceId(1)}`, reason: 'not JSON' }];
  const verdict = only([], [sampleInstance(1)], { roll: { entries: [absentNode(1, null)], skipped } });
  assert.deepEqual([verdict.kind, verdict.reason], ['unreadable', 'its presence cannot be read: not JSON']);
});

test('a node without an ARN, or of another cluster, region or account, is not a stray', () => {
  assert.equal(only([sampleNode(1)], []).kind, 'stray');
  assert.equal(only([sampleNode(1, { containerInstanceArn: null })], []).kind, 'unregistered');
  assert.equal(only([sampleNode(1, { containerInstanceArn: null, cluster: null })], []).kind, 'unregistered');
  assert.equal(only([sampleNode(1, { containerInstanceArn: null, cluster: 'other' })], []).kind, 'elsewhere');
  const other = sampleNode(1, { containerInstanceArn: sampleArn(1, 'other'), cluster: 'other' });
  assert.equal(only([other], []).kind, 'elsewhere');
  const region = { containerInstanceArn: sampleArn(1).replace('us-east-1', 'eu-west-1') };
  assert.equal(only([sampleNode(1, region)], []).kind, 'elsewhere');
  assert.equal(only([sampleNode(1, region)], [], { all: true }).kind, 'elsewhere');
  const gone = only([other], [], { all: true });
  assert.deepEqual([gone.kind, gone.reason], ['stray', 'ECS has no cluster other']);
  const old = { containerInstanceArn: sampleArn(1).replace('/demo/', '/') };
  assert.equal(only([sampleNode(1, old)], []).kind, 'stray');
  assert.equal(only([sampleNode(1, { ...old, cluster: null })], []).kind, 'elsewhere');
});

test('one audit that finds an agent disconnected does not show for how long', () => {
  const verdict = only([sampleNode(1)], [sampleInstance(1, { agentConnected: false })]);
  assert.deepEqual([verdict.kind, verdict.since], ['disconnected-now', null]);
});

test('a node whose own check ecs-agent fails for more than 5 minutes is disconnected since then', () => {
  const away = [sampleInstance(1, { agentConnected: false })];
  const long = only([sampleNode(1, { health: health('critical', ago(6)) })], away);
  assert.deepEqual([long.kind, long.since], ['disconnected', ago(6)]);
  assert.match(long.reason, /^its own check ecs-agent is critical since then: connection refused$/);
  assert.equal(only([sampleNode(1, { health: health('critical', ago(5)) })], away).kind, 'disconnected-now');
  const elseCheck = {
    ...health('critical', ago(60)),
    checks: [{ name: 'disk', status: 'critical' as const, reason: 'full', since: ago(60) }],
  };
  assert.equal(only([sampleNode(1, { health: elseCheck })], away).kind, 'disconnected-now');
  // ECS decides, not the check: a connected agent is connected.
  assert.equal(only([sampleNode(1, { health: health('critical', ago(6)) })], [sampleInstance(1)]).kind, 'agreeing');
});

test('three consecutive audits over more than 5 minutes, less than an hour apart, establish a disconnection', () => {
  const sides = sampleSides([sampleNode(1)], [sampleInstance(1, { agentConnected: false })]);
  const audits = (...minutesAgo: readonly number[]) => {
    let memory = emptyAuditMemory;
    for (const minutes of minutesAgo) {
      const nowMs = Date.parse(ago(minutes));
      memory = JSON.parse(JSON.stringify(remember(memory, compareRolls(sides, memory, nowMs), nowMs)));
    }
    return verdictsOf(sides, memory)[0];
  };
  const long = audits(6, 3);
  assert.deepEqual([long?.kind, long?.since], ['disconnected', ago(6)]);
  assert.match(long?.reason ?? '', /^each audit since then/);
  assert.equal(audits(6)?.kind, 'disconnected-now', 'two audits may have met two short disconnections');
  assert.equal(audits(5, 4, 3, 2, 1)?.kind, 'disconnected-now', 'not longer than 5 minutes');
  assert.equal(audits(240, 120)?.kind, 'disconnected-now', 'no audit in between');
  assert.equal(audits(-600, -300)?.kind, 'disconnected-now', 'a clock ahead');
  const back = remember(emptyAuditMemory, verdictsOf(sides), NOW_MS);
  const connected = verdictsOf(sampleSides([sampleNode(1)], [sampleInstance(1)]), back);
  assert.deepEqual(remember(back, connected, NOW_MS), emptyAuditMemory, 'connected again is forgotten');
});

test('the start of a lost node’s ghost comes from previous audits', () => {
  const sides = sampleSides([absentNode(1, null)], [sampleInstance(1)]);
  const memory = remember(emptyAuditMemory, compareRolls(sides, emptyAuditMemory, NOW_MS - 60_000), NOW_MS - 60_000);
  assert.deepEqual(
    verdictsOf(sides, memory).map(({ since }) => since),
    [ago(1)],
  );
});

test('another ARN or cluster for the same instance is a mismatch', () => {
  const arn = only([sampleNode(1, { containerInstanceArn: sampleArn(1, 'demo', 1) })], [sampleInstance(1)]);
  assert.equal(arn.kind, 'mismatch');
  assert.match(arn.reason, /^its record says arn:.* in demo$/);
  const cluster = { containerInstanceArn: sampleArn(1, 'other'), cluster: 'other' };
  assert.equal(only([sampleNode(1, cluster)], [sampleInstance(1)]).kind, 'mismatch');
  const name = { containerInstanceArn: sampleArn(1).replace('/demo/', '/') };
  const instance = sampleInstance(1, name);
  assert.equal(only([sampleNode(1, { ...name, cluster: 'other' })], [instance]).kind, 'mismatch');
});

test('a disconnected former container instance is a ghost, whichever one the record names', () => {
  const [former, current] = [
    sampleInstance(1, { agentConnected: false }),
    sampleInstance(1, { containerInstanceArn: sampleArn(1, 'demo', 1), registeredAt: ago(5) }),
  ];
  const renewed = verdictsOf(
    sampleSides([sampleNode(1, { containerInstanceArn: sampleArn(1, 'demo', 1) })], [former, current]),
  );
  assert.deepEqual(
    renewed.map(({ kind }) => kind),
    ['agreeing', 'ghost'],
  );
  assert.match(renewed[1]?.reason ?? '', /^a former registration; the node is present in demo as .*1$/);
  // The record is not updated yet, so the connected one is compared.
  assert.deepEqual(kinds([sampleNode(1)], [former, current]), ['mismatch', 'ghost']);
  // Both are connected, so ECS has the node twice.
  assert.deepEqual(kinds([sampleNode(1)], [{ ...former, agentConnected: true }, current]), ['agreeing', 'mismatch']);
  // The node moved to a cluster that is not audited.
  const moved = sampleNode(1, { containerInstanceArn: sampleArn(1, 'other'), cluster: 'other' });
  assert.deepEqual(kinds([moved], [former]), ['elsewhere', 'ghost']);
  // The record names neither.
  assert.deepEqual(kinds([sampleNode(1, { containerInstanceArn: sampleArn(1, 'demo', 2) })], [former]), [
    'stray',
    'ghost',
  ]);
  assert.deepEqual(
    kinds(
      [sampleNode(1)],
      [sampleInstance(1), { ...former, containerInstanceArn: sampleArn(1, 'demo', 3), status: 'REGISTERING' }],
    ),
    ['agreeing', 'registering'],
  );
});

test('a container instance without an instance id is matched by its ARN', () => {
  assert.equal(only([sampleNode(1)], [sampleInstance(1, { ec2InstanceId: null })]).kind, 'agreeing');
  assert.equal(only([], [sampleInstance(1, { ec2InstanceId: null })]).kind, 'ghost');
});

test('if two nodes have the same ARN, the one that ECS does not name is a mismatch', () => {
  const copied = sampleNode(2, { containerInstanceArn: sampleArn(1) });
  const verdicts = verdictsOf(sampleSides([sampleNode(1), copied], [sampleInstance(1)]));
  assert.deepEqual(
    verdicts.map(({ kind }) => kind),
    ['agreeing', 'mismatch'],
  );
  assert.match(verdicts[1]?.reason ?? '', /^in ECS its container instance belongs to i-00000001/);
});

test('if two nodes have the same ARN and one has another one in ECS, it is matched with the other', () => {
  const theirs = sampleArn(1);
  const moved = sampleNode(2, { containerInstanceArn: theirs });
  const copied = sampleNode(3, { containerInstanceArn: theirs });
  const verdicts = verdictsOf(sampleSides([moved, copied], [sampleInstance(1), sampleInstance(2)]));
  assert.deepEqual(
    verdicts.map(({ instance }) => instance?.containerInstanceArn).sort(),
    [theirs, sampleArn(2)].sort(),
  );
});

test('the reasons name what is known: the host, the missing instance id, the node’s own check', () => {
  const reason = (entries: readonly RollEntry[], instances: readonly ContainerInstance[]) =>
    verdictsOf(sampleSides(entries, instances)).map((verdict) => verdict.reason);
  const away = { agentConnected: false };
  assert.match(reason([absentNode(1, null)], [sampleInstance(1, away)])[0] ?? '', /: the host may be down or cut off$/);
  assert.match(reason([], [sampleInstance(1, { ec2InstanceId: null })])[0] ?? '', /^ECS has no EC2 instance id for it/);
  const silent = sampleNode(1, { health: health('critical', ago(9), 'refused') });
  assert.deepEqual(reason([silent], []), [
    `ECS does not know its container instance; its check ecs-agent is critical since ${ago(9)}: refused`,
  ]);
  assert.deepEqual(reason([sampleNode(1)], []), ['ECS does not know its container instance']);
});

test('a former container instance that is DEREGISTERING is not a difference; the reason names the current one', () => {
  const former = sampleInstance(1, { containerInstanceArn: sampleArn(1, 'demo', 1), agentConnected: false });
  const sides = (instance: ContainerInstance, ...others: ContainerInstance[]) =>
    verdictsOf(sampleSides([sampleNode(1)], [...others, instance]));
  assert.deepEqual(
    sides({ ...former, status: 'DEREGISTERING' }, sampleInstance(1)).map(({ kind }) => kind),
    ['agreeing', 'deregistering'],
  );
  const unknown = sides(former);
  assert.deepEqual(
    unknown.map(({ kind }) => kind),
    ['stray', 'ghost'],
  );
  assert.ok(unknown[1]?.reason.endsWith(` as ${sampleArn(1)}`), unknown[1]?.reason);
});

test('how long an ecs-agent has been away is never the auditor’s clock less a clock that is an hour behind', () => {
  const away = [sampleInstance(1, { agentConnected: false })];
  const behind = (minutes: number, clockSkewSeconds: number | null) =>
    only([sampleNode(1, { health: health('critical', ago(60 + minutes)), clockSkewSeconds })], away);
  assert.equal(behind(1, -3_600).kind, 'disconnected-now');
  // By a clock that nothing ties to the auditor's, it is not known for how long.
  assert.equal(behind(1, null).kind, 'disconnected-now');
  const long = behind(10, -3_600);
  assert.deepEqual([long.kind, long.since], ['disconnected', ago(10)]);
  assert.match(
    long.reason,
    /^its own check ecs-agent is critical since then \(\S+ by its own clock; .* 60 min behind EC2's\)/,
  );
  const ahead = only([sampleNode(1, { health: health('critical', ago(-50)), clockSkewSeconds: 3_600 })], away);
  assert.deepEqual([ahead.kind, ahead.since], ['disconnected', ago(10)]);
  const departed = (clockSkewSeconds: number | null) =>
    only([absentNode(1, { cause: 'stopped', at: ago(67) }, { clockSkewSeconds })], away).since;
  assert.deepEqual([departed(-3_600), departed(null)], [ago(7), null]);
  // One record whose instant no date can hold ends no audit.
  const at = '+275760-09-13T00:00:00.000Z';
  const last = only([absentNode(1, { cause: 'stopped', at }, { clockSkewSeconds: -60 })], away);
  assert.deepEqual([last.kind, last.since], ['ghost', null]);
});
