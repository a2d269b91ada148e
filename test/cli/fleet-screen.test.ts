import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { FleetStatus } from '../../src/audit/fleet-answer.ts';
import { encodeAuditSummary } from '../../src/audit/fleet-audit/documents.ts';
import { LOCK } from '../../src/audit/fleet-audit/fleet-audit-run.ts';
import { renderStatus } from '../../src/cli/fleet-screen.ts';
import type { StatusNode } from '../../src/record/roll-status.ts';
import { json, startScriptedAgent } from '../client/scripted-agent.ts';
import { runInProcess } from '../support/run-in-process.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { openTestRoll } from '../support/test-roll.ts';

const never = new AbortController().signal;
const SICK = {
  status: 'critical' as const,
  since: '2026-01-01T00:00:00Z',
  checks: [{ name: 'docker', status: 'critical' as const, reason: 'no answer', since: '2026-01-01T00:00:00Z' }],
};

describe('rollcall status', () => {
  test('it is the same from the store and from an agent, with drains and the audit', async (t) => {
    const roll = await openTestRoll(t);
    await roll.register(1);
    await roll.register(2, { health: SICK, availabilityZone: 'us-east-1b' });
    await roll.end(3, { cluster: 'prod' });
    await roll.end(4, { departure: { cause: 'stopped', at: '2026-01-01T00:00:00.000Z' } });
    const claim = {
      ...{
        phase: 'drained' as const,
        arn: 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/1',
        cluster: 'demo',
      },
      ...{ reason: 'a notice', since: '2026-01-01T00:00:00Z', session: 's' },
    } as const;
    await roll.store.drainSlots.take({ instanceId: sampleInstanceId(1), claim, maxSharePercent: 50 }, never);
    const audited = await roll.store.leaderLocks.campaign(
      LOCK,
      { session: 's', instanceId: 'i-00000001', ttlMs: 30_000 },
      never,
    );
    assert.ok(audited.kind === 'elected');
    const by = { session: 's', instanceId: 'i-00000001' };
    const differences = { ghost: 1, stray: 0, disconnected: 0, mismatch: 2 };
    const summary = encodeAuditSummary({
      intervalMs: 300_000,
      lastRun: { by, endedAt: '2026-01-01T00:00:00Z', error: null },
      result: {
        ...{ by, startedAt: '2026-01-01T00:00:00Z', finishedAt: '2026-01-01T00:00:00Z', revision: '7', clusters: 1 },
        ...{ agreeing: 9, elsewhere: 0, undecided: 18, differences },
      },
    });
    await roll.store.leaderLocks.publish(audited.term, { summary }, never);
    const agent = await roll.serve();
    const direct = await runInProcess(['status', '--store', roll.url]);
    assert.equal(direct.code, 0, direct.stderr);
    const { stdout } = direct;
    assert.match(stdout, /^Store +memory:\S*: SQLite$/m);
    assert.match(stdout, /^Nodes +2 present: 1 passing, 0 warning, 1 critical; 1 lost, 1 departed$/m);
    assert.match(stdout, /^Audit +i-00000001 audits; \S+ ago: 9 agree, 1 ghost, 2 mismatch, 18 undecided$/m);
    assert.match(stdout, /^demo +us-east-1b +1 +0 +0 +1 +0 +0$/m);
    assert.match(stdout, /^lost +i-00000003 +10\.0\.0\.3 +prod +us-east-1a +was passing$/m);
    assert.match(stdout, /^critical +i-00000002 .*docker: no answer \(\S+\)$/m);
    assert.match(stdout, /^drain +i-00000001 +10\.0\.0\.1 +demo +us-east-1a +drained for \S+: a notice$/m);
    assert.match(stdout, /^departed +i-00000004 .*stopped \S+ ago$/m);
    // Ages go on between two runs; the whole answer has instants.
    const parsed = async (...from: string[]) =>
      JSON.parse((await runInProcess(['status', '-o', 'json', ...from])).stdout);
    const { ageMs: _, ...served } = await parsed('--agent', agent);
    const { ageMs: __, ...whole } = await parsed('--store', roll.url);
    assert.deepEqual(served, whole);
    assert.deepEqual([served.nodes.lost, served.drains.length, served.audit.agreeing, served.notes], [1, 1, 9, []]);
  });

  test('a filter selects nodes and their drains, and a value that no node has is named', async (t) => {
    const roll = await openTestRoll(t);
    await roll.register(1);
    await roll.register(2, { cluster: 'prod' });
    const agent = await roll.serve();
    for (const from of [
      ['--store', roll.url],
      ['--agent', agent],
    ]) {
      const { stdout, stderr } = await runInProcess(['status', '--cluster', 'prod,nope', ...from]);
      assert.match(stdout, /^Nodes +1 present/m);
      assert.equal(stderr, 'note: no node is in cluster "nope"; clusters: demo, prod\n');
    }
  });

  test('after a mass loss it says that the store may have failed, from the store and from an agent', async (t) => {
    const roll = await openTestRoll(t);
    await roll.register(1);
    for (const n of [2, 3, 4, 5, 6]) await roll.end(n);
    const note = /^note: 5 of 6 nodes are lost \(83%, more than 30%\): if this is new, the store .* within 30s\n$/;
    for (const from of [
      ['--store', roll.url],
      ['--agent', await roll.serve()],
    ])
      assert.match((await runInProcess(['status', ...from])).stderr, note);
    const off = await runInProcess(['status', '--store', roll.url, '--mass-loss-share', 'off']);
    assert.deepEqual([off.code, off.stderr], [0, '']);
  });

  test('ages are by one clock, or say by which; a clock that is off is named', async (t) => {
    const roll = await openTestRoll(t);
    const nowMs = Date.now();
    const ago = (seconds: number) => new Date(nowMs - seconds * 1_000).toISOString();
    const sick = (since: string) => ({ ...SICK, since, checks: SICK.checks.map((check) => ({ ...check, since })) });
    const claim = {
      ...{ phase: 'drained' as const, arn: 'arn', cluster: 'demo', reason: 'a notice', session: 's' },
      since: ago(3_600 + 120),
    };
    await roll.register(1, { health: sick(ago(3_600 + 120)), clockSkewSeconds: -3_600 });
    await roll.register(2, { health: sick(ago(120)), clockSkewSeconds: null });
    await roll.end(3, { departure: { cause: 'stopped', at: ago(120 - 3_600) }, clockSkewSeconds: 3_600 });
    await roll.end(4, { departure: { cause: 'stopped', at: ago(120) }, clockSkewSeconds: null });
    await roll.store.drainSlots.take({ instanceId: sampleInstanceId(1), claim, maxSharePercent: 50 }, never);
    for (const from of [
      ['--store', roll.url],
      ['--agent', await roll.serve()],
    ]) {
      const { stdout, stderr } = await runInProcess(['status', ...from]);
      const age = '[23]m(\\d+s)?';
      for (const [node, what] of [
        [1, `docker: no answer \\(${age}\\)`],
        [2, `docker: no answer \\(${age} by its clock\\)`],
        [3, `stopped ${age} ago`],
        [4, `stopped ${age} ago by its clock`],
        [1, `drained for ${age}: a notice`],
      ])
        assert.match(stdout, new RegExp(`^\\w+ +i-0000000${node} .* {2}${what}$`, 'm'));
      assert.equal(
        stderr,
        [
          "note: the clock of i-00000001 is 60 min behind EC2's; the times in its record are by it\n",
          "note: the clock of i-00000003 is 60 min ahead of EC2's; the times in its record are by it\n",
        ].join(''),
      );
    }
  });

  test('an agent that has no such page is of another version', async (t) => {
    const old = await startScriptedAgent(t, json(404, { detail: 'unknown path' }), (_, res) =>
      res.end('rollcall 0.0.9\n'),
    );
    const { code, stderr } = await runInProcess(['status', '--agent', old.url]);
    assert.equal(code, 2);
    assert.match(
      stderr,
      /^rollcall status: the agent at http:\S+ is rollcall 0\.0\.9, this is test: .*HTTP 404: unknown path; upgrade the older one\n$/,
    );
    const build = await startScriptedAgent(t, json(404, { detail: 'unknown path; / lists the paths' }), (_, res) =>
      res.end('rollcall test\n'),
    );
    const same = await runInProcess(['status', '--agent', build.url]);
    assert.equal(
      same.stderr.replaceAll(build.url, 'URL'),
      'rollcall status: the agent at URL is an older build of rollcall test: read the status at URL: HTTP 404: unknown path; upgrade it, or ask another agent or the store\n',
    );
    assert.equal(same.code, 2);
    const odd = await startScriptedAgent(t, json(200, { nodes: {} }));
    assert.match(
      (await runInProcess(['status', '--agent', odd.url])).stderr,
      /is not a rollcall agent: .*revision: expected a text/,
    );
  });
});

describe('the screen', () => {
  const STATUS: FleetStatus = {
    ...{ revision: '7', ageMs: 45_000, stale: true, drains: null, draining: null, audit: null, notes: [] },
    ...{ groups: [], departed: [], unhealthy: [], notices: [], noticed: 0 },
    nodes: { present: 0, passing: 0, warning: 0, critical: 0, lost: 8, departed: 0 },
    uncertainty: {
      ...{ vanished: 8, nodes: 10, limitShare: 0.3, limitCount: 5 },
      ...{ since: '2026-01-01T00:00:00Z', until: '2026-01-01T00:00:30Z' },
    },
    store: { url: 'etcd://h', id: 'x', version: 'etcd 3.5.9', members: ['a', 'b', 'c'], leader: 'b' },
    lost: Array.from({ length: 8 }, (_, n) => ({
      ...{ ec2InstanceId: sampleInstanceId(n), privateIpAddress: null, cluster: '\u001b[31m', availabilityZone: null },
      health: 'passing' as const,
    })),
  };

  test('it says what is stale and uncertain, and how many nodes it leaves out; text cannot control the terminal', () => {
    const text = renderStatus(STATUS, 0);
    assert.match(text, /^Store +etcd:\/\/h: etcd 3\.5\.9, 3 members, leader b$/m);
    assert.match(text, /^Roll +revision 7, STALE: 45s old$/m);
    assert.match(text, /^Uncertain +8 of 10 nodes vanished at once; until 2026-01-01T00:00:30Z/m);
    assert.match(text, /^Audit +no agent audits \(--audit-interval\)$/m);
    assert.equal(text.match(/^lost /gm)?.length, 5);
    assert.match(text, /^3 more lost: rollcall list --all -o wide, or -o json$/m);
    assert.ok(!text.includes('\u001b'));
  });

  test('of more notices and drains than the answer has it says how many there are', () => {
    const node = { ...STATUS.lost[0], ec2InstanceId: 'i-00000001', cluster: 'demo' } as StatusNode;
    const notice = { ...node, kind: 'spot-interruption', action: null, time: null };
    const drain = { ...node, phase: 'drained', reason: 'a notice', since: null };
    const lists = { notices: Array(100).fill(notice), drains: Array(100).fill(drain) };
    const text = renderStatus({ ...STATUS, ...lists, noticed: 140, draining: 230 }, 0);
    assert.match(text, /^3 more lost, 135 more notice, 225 more drain: /m);
  });

  test('a fleet without nodes fits in four lines', () => {
    const nodes = { present: 0, passing: 0, warning: 0, critical: 0, lost: 0, departed: 0 };
    const text = renderStatus({ ...STATUS, nodes, lost: [], uncertainty: null }, 0);
    assert.match(text, /^Nodes +none$/m);
    assert.equal(text.trimEnd().split('\n').length, 4);
  });
});
