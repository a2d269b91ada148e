import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BothSides } from '../../src/audit/compare.ts';
import { compareRolls } from '../../src/audit/compare.ts';
import { type AuditMemory, emptyAuditMemory, remember } from '../../src/audit/history.ts';
import type { ContainerInstance } from '../../src/ecs/ecs-api.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { absentNode, ago, NOW_MS, sampleArn, sampleInstance, sampleNode, sampleSides } from './sample-sides.ts';

const told = (sides: BothSides, memory: AuditMemory = emptyAuditMemory) => compareRolls(sides, memory, NOW_MS);
const only = (
  entries: readonly RollEntry[],
  instances: readonly ContainerInstance[],
  overrides: Partial<BothSides> = {},
) => {
  const [verdict, ...rest] = told(sampleSides(entries, instances, overrides));
  assert.ok(verdict);
  assert.deepEqual(rest, []);
  return verdict;
};
const kinds = (...args: Parameters<typeof sampleSides>) => told(sampleSides(...args)).map(({ kind }) => kind);
const health = (status: 'critical' | 'warning', since: string, reason = 'connection refused') => ({
  status,
  since,
  checks: [{ name: 'ecs-agent', status, reason, since }],
});

test('a node that is the same on both sides agrees, drained or being registered too', () => {
  assert.equal(only([sampleNode(1)], [sampleInstance(1)]).kind, 'agreeing');
  assert.equal(only([sampleNode(1)], [sampleInstance(1, { status: 'DRAINING' })]).kind, 'agreeing');
  const registering = { status: 'REGISTERING', agentConnected: false };
  assert.equal(only([sampleNode(1)], [sampleInstance(1, registering)]).kind, 'agreeing');
});

test('what the record does not know is no mismatch: an ARN, a cluster', () => {
  const blank = sampleNode(1, { containerInstanceArn: null, cluster: null });
  assert.equal(only([blank], [sampleInstance(1)]).kind, 'agreeing');
  assert.equal(only([blank], [sampleInstance(1, { agentConnected: false })]).kind, 'disconnected-now');
});

test('a ghost tells what the last record said, and whether its host lives', () => {
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
    /^lost, last health critical since \S+ \(ecs-agent: connection refused\); .*the host seems to be up, without rollcall$/,
  );
  assert.match(
    only([], [sampleInstance(1)]).reason,
    /^never answered the roll, or was forgotten; registered in ECS at/,
  );
});

test('a container instance that a present node has under another name is that node’s mismatch, and no ghost', () => {
  const renamed = sampleInstance(1, { ec2InstanceId: sampleInstanceId(9) });
  const verdict = only([sampleNode(1)], [renamed]);
  assert.deepEqual([verdict.kind, verdict.instance], ['mismatch', renamed]);
  // Its copy beside it: both are told of, and the registration once.
  const copy = sampleNode(2, { containerInstanceArn: sampleArn(1) });
  assert.deepEqual(kinds([sampleNode(1), copy], [renamed]), ['mismatch', 'mismatch']);
  // Where the one it belongs to is there, that one agrees.
  assert.deepEqual(kinds([sampleNode(1), copy], [sampleInstance(1)]), ['agreeing', 'mismatch']);
});

test('a container instance that nobody had the time to answer for is no ghost yet', () => {
  assert.equal(only([], [sampleInstance(1, { registeredAt: ago(4) })]).kind, 'registering');
  assert.equal(only([], [sampleInstance(1, { registeredAt: ago(6) })]).kind, 'ghost');
  assert.equal(only([], [sampleInstance(1, { registeredAt: ago(6), status: 'REGISTERING' })]).kind, 'ghost');
  assert.equal(only([], [sampleInstance(1, { registeredAt: null })]).kind, 'ghost');
  // It did answer, and is gone.
  assert.equal(only([absentNode(1, null)], [sampleInstance(1, { registeredAt: ago(4) })]).kind, 'ghost');
});

test('what ECS is taking off is no difference, and what it has taken off is not there', () => {
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

test('a node whose record cannot be read is no ghost, named or only counted', () => {
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

test('a stray is what ECS would have if it knew it: not a node without an ARN, of another cluster, region or account', () => {
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

test('one look that finds an agent disconnected tells nothing of for how long', () => {
  const verdict = only([sampleNode(1)], [sampleInstance(1, { agentConnected: false })]);
  assert.deepEqual([verdict.kind, verdict.since], ['disconnected-now', null]);
});

test('a node whose own check says that ecs-agent is away for longer than 5 minutes is disconnected since then', () => {
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
  // ECS is asked, not the check: a connected agent is connected.
  assert.equal(only([sampleNode(1, { health: health('critical', ago(6)) })], [sampleInstance(1)]).kind, 'agreeing');
});

test('audits in a row establish a disconnection: three of them, over more than 5 minutes, not hours apart', () => {
  const sides = sampleSides([sampleNode(1)], [sampleInstance(1, { agentConnected: false })]);
  const audits = (...minutesAgo: readonly number[]) => {
    let memory = emptyAuditMemory;
    for (const minutes of minutesAgo) {
      const nowMs = Date.parse(ago(minutes));
      memory = JSON.parse(JSON.stringify(remember(memory, compareRolls(sides, memory, nowMs), nowMs)));
    }
    return told(sides, memory)[0];
  };
  const long = audits(6, 3);
  assert.deepEqual([long?.kind, long?.since], ['disconnected', ago(6)]);
  assert.match(long?.reason ?? '', /^each audit since then/);
  assert.equal(audits(6)?.kind, 'disconnected-now', 'two looks may have met two moments');
  assert.equal(audits(5, 4, 3, 2, 1)?.kind, 'disconnected-now', 'not longer than 5 minutes');
  assert.equal(audits(240, 120)?.kind, 'disconnected-now', 'nobody looked in between');
  assert.equal(audits(-600, -300)?.kind, 'disconnected-now', 'a clock ahead');
  const back = remember(emptyAuditMemory, told(sides), NOW_MS);
  const connected = told(sampleSides([sampleNode(1)], [sampleInstance(1)]), back);
  assert.deepEqual(remember(back, connected, NOW_MS), emptyAuditMemory, 'connected again is forgotten');
});

test('audits before tell since when a ghost of a lost node is known', () => {
  const sides = sampleSides([absentNode(1, null)], [sampleInstance(1)]);
  const memory = remember(emptyAuditMemory, compareRolls(sides, emptyAuditMemory, NOW_MS - 60_000), NOW_MS - 60_000);
  assert.deepEqual(
    told(sides, memory).map(({ since }) => since),
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

test('a former registration that is left behind disconnected is a ghost, whichever the record names', () => {
  const [former, current] = [
    sampleInstance(1, { agentConnected: false }),
    sampleInstance(1, { containerInstanceArn: sampleArn(1, 'demo', 1), registeredAt: ago(5) }),
  ];
  const renewed = told(
    sampleSides([sampleNode(1, { containerInstanceArn: sampleArn(1, 'demo', 1) })], [former, current]),
  );
  assert.deepEqual(
    renewed.map(({ kind }) => kind),
    ['agreeing', 'ghost'],
  );
  assert.match(renewed[1]?.reason ?? '', /^a former registration; the node is present in demo as .*1$/);
  // The record has not followed yet: the living one is compared.
  assert.deepEqual(kinds([sampleNode(1)], [former, current]), ['mismatch', 'ghost']);
  // Both are connected: ECS has the node twice.
  assert.deepEqual(kinds([sampleNode(1)], [{ ...former, agentConnected: true }, current]), ['agreeing', 'mismatch']);
  // It moved to a cluster that was not asked about.
  const moved = sampleNode(1, { containerInstanceArn: sampleArn(1, 'other'), cluster: 'other' });
  assert.deepEqual(kinds([moved], [former]), ['elsewhere', 'ghost']);
  // Neither is the one that the record names.
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

test('a container instance without an EC2 instance id is known by its ARN', () => {
  assert.equal(only([sampleNode(1)], [sampleInstance(1, { ec2InstanceId: null })]).kind, 'agreeing');
  assert.equal(only([], [sampleInstance(1, { ec2InstanceId: null })]).kind, 'ghost');
});

test('a container instance that two nodes claim is a mismatch for the one that ECS does not mean', () => {
  const copied = sampleNode(2, { containerInstanceArn: sampleArn(1) });
  const verdicts = told(sampleSides([sampleNode(1), copied], [sampleInstance(1)]));
  assert.deepEqual(
    verdicts.map(({ kind }) => kind),
    ['agreeing', 'mismatch'],
  );
  assert.match(verdicts[1]?.reason ?? '', /^ECS has its container instance as i-00000001/);
});

test('a container instance that two nodes claim, one of whom has one of its own, is told with the other', () => {
  const theirs = sampleArn(1);
  const moved = sampleNode(2, { containerInstanceArn: theirs });
  const copied = sampleNode(3, { containerInstanceArn: theirs });
  const verdicts = told(sampleSides([moved, copied], [sampleInstance(1), sampleInstance(2)]));
  assert.deepEqual(
    verdicts.map(({ instance }) => instance?.containerInstanceArn).sort(),
    [theirs, sampleArn(2)].sort(),
  );
});

test('each reason is of what there is: who may be down, whom ECS does not name, what its own check says', () => {
  const reason = (entries: readonly RollEntry[], instances: readonly ContainerInstance[]) =>
    told(sampleSides(entries, instances)).map((verdict) => verdict.reason);
  const away = { agentConnected: false };
  assert.match(reason([absentNode(1, null)], [sampleInstance(1, away)])[0] ?? '', /: the host may be down or cut off$/);
  assert.match(
    reason([], [sampleInstance(1, { ec2InstanceId: null })])[0] ?? '',
    /^ECS does not say which EC2 instance/,
  );
  const silent = sampleNode(1, { health: health('critical', ago(9), 'refused') });
  assert.deepEqual(reason([silent], []), [
    `ECS does not know its container instance; its check ecs-agent is critical since ${ago(9)}: refused`,
  ]);
  assert.deepEqual(reason([sampleNode(1)], []), ['ECS does not know its container instance']);
});

test('of a former registration: what ECS is taking off is no difference, and what the node is now is said', () => {
  const former = sampleInstance(1, { containerInstanceArn: sampleArn(1, 'demo', 1), agentConnected: false });
  const sides = (instance: ContainerInstance, ...others: ContainerInstance[]) =>
    told(sampleSides([sampleNode(1)], [...others, instance]));
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
