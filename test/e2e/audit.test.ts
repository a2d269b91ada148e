import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { AuditReport } from '../../src/audit/audit-report.ts';
import type { ContainerInstance } from '../../src/ecs/ecs-api.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { openStore } from '../../src/store/open-store.ts';
import { absentNode, sampleArn, sampleInstance, sampleNode } from '../audit/sample-sides.ts';
import { CLEAN_ENV, rollcall, SCRIPT } from '../support/rollcall-process.ts';
import { startEcsLikeServer } from './ecs-like-server.ts';

const { signal } = new AbortController();

/** A store with these nodes on its roll, and an ECS with these container instances. */
async function sides(t: TestContext, entries: readonly RollEntry[], instances: readonly ContainerInstance[]) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-audit-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const path = join(dir, 'roll.db');
  const deps = { clock: systemClock, random: Math.random, signal, create: true };
  const store = await openStore({ kind: 'sqlite', label: 'sqlite', path }, deps);
  for (const { record, presence } of entries) {
    const registration = {
      instanceId: record.ec2InstanceId,
      session: 's',
      since: '2026-01-01T00:00:00.000Z',
      ttlMs: 3_600_000,
      retentionMs: 86_400_000,
    };
    const outcome = await store.register(registration, { ...record, departure: null }, { takeover: true, signal });
    assert.ok(outcome.kind === 'registered');
    if (presence === null) await store.depart(outcome.hold, record, signal);
  }
  await store.close();
  const server = await startEcsLikeServer(instances);
  t.after(() => server.dispose());
  const env = { ...server.env, ROLLCALL_STORE: `sqlite:${path}` };
  const audit = (...args: readonly string[]) => rollcall(['audit', ...args], env);
  return { audit, server, path };
}

test('without differences the audit prints one line, exits with 0 and reads each side once', async (t) => {
  const { audit, server } = await sides(t, [sampleNode(1), sampleNode(2)], [sampleInstance(1), sampleInstance(2)]);
  const named = await audit('--cluster', 'demo');
  assert.deepEqual(named, { code: 0, stdout: 'demo: 2 agree, none differs\n', stderr: '' });
  assert.deepEqual(server.asked, ['ListContainerInstances', 'DescribeContainerInstances']);
  const all = await audit('--all-clusters');
  assert.deepEqual(all, { code: 0, stdout: 'demo: 2 agree, none differs\n', stderr: '' });
});

test('if the result cannot be written the audit exits with 2, because 0 and 1 are results', async (t) => {
  const { server, path } = await sides(t, [sampleNode(1)], [sampleInstance(1)]);
  const args = ['audit', '--store', `sqlite:${path}`, '--cluster', 'demo'];
  const full = await open('/dev/full', 'w');
  t.after(() => full.close());
  const child = spawn(SCRIPT, args, { env: { ...CLEAN_ENV, ...server.env }, stdio: ['ignore', full.fd, 'ignore'] });
  t.after(() => child.kill('SIGKILL'));
  assert.deepEqual(await once(child, 'exit'), [2, null]);
});

test('each difference is a line with kind, instance, address, since, ARN and reason; exit 1; JSON is the report', async (t) => {
  const since = '2026-01-01T00:00:00.000Z';
  const away = {
    status: 'critical' as const,
    since,
    checks: [{ name: 'ecs-agent', status: 'critical' as const, reason: 'refused', since }],
  };
  const { audit, server } = await sides(
    t,
    [
      sampleNode(1),
      absentNode(2, { cause: 'spot-interruption', at: '2026-01-01T12:00:00.000Z' }),
      sampleNode(3),
      sampleNode(4, { health: away }),
      sampleNode(5, { containerInstanceArn: sampleArn(5, 'demo', 1) }),
      sampleNode(6),
      // Lost and in ECS no more: no difference, but so many at once are worth a note.
      ...Array.from({ length: 10 }, (_, n) => absentNode(20 + n, null)),
    ],
    [
      sampleInstance(1),
      sampleInstance(2, { agentConnected: false }),
      sampleInstance(4, { agentConnected: false }),
      sampleInstance(5),
      sampleInstance(6, { agentConnected: false }),
    ],
  );
  const [text, json] = await Promise.all([audit('--cluster', 'demo'), audit('--cluster', 'demo', '-o', 'json')]);
  assert.equal(text.code, 1, text.stderr);
  const lines = text.stdout.trimEnd().split('\n');
  assert.match(lines[0] ?? '', /^DIFFERENCE +INSTANCE +IP +SINCE +CONTAINER INSTANCE ARN +REASON$/);
  assert.match(
    lines[1] ?? '',
    /^ghost +i-00000002 +10\.0\.0\.2 +2026-01-01T12:00:00\.000Z \(\d+d\d*h?\) +arn:\S+20 +departed \(spot/,
  );
  assert.match(
    lines[2] ?? '',
    /^stray +i-00000003 +10\.0\.0\.3 +- +arn:\S+30 +ECS does not know its container instance$/,
  );
  assert.match(
    lines[3] ?? '',
    /^disconnected +i-00000004 +10\.0\.0\.4 +2026\S+ \(\S+\) +arn:\S+40 +its own check ecs-agent is critical/,
  );
  assert.match(lines[4] ?? '', /^mismatch +i-00000005 +10\.0\.0\.5 +- +arn:\S+50 +its record says arn:\S+51 in demo$/);
  assert.deepEqual(lines.slice(5), ['demo: 1 agree, 4 differ: 1 ghost, 1 stray, 1 disconnected, 1 mismatch']);
  assert.deepEqual(text.stderr.trimEnd().split('\n'), [
    'note: 4 nodes seem to differ; reading both sides again in 12s',
    'note: disconnected-now: i-00000006 10.0.0.6 in demo: its ecs-agent is disconnected; ECS does not say for how long',
    'note: 10 of 15 nodes are lost (67%, more than 30%): if this is new, the store or the network may have failed, and running agents are back within 300s',
    'rollcall audit: the roll and ECS differ',
  ]);
  const report: AuditReport = JSON.parse(json.stdout);
  assert.equal(json.code, 1);
  assert.deepEqual(
    report.differences.map(({ kind, instanceId }) => [kind, instanceId]),
    [
      ['ghost', 'i-00000002'],
      ['stray', 'i-00000003'],
      ['disconnected', 'i-00000004'],
      ['mismatch', 'i-00000005'],
    ],
  );
  assert.deepEqual([report.agreeing, report.notes.map(({ kind }) => kind)], [1, ['disconnected-now']]);
  assert.ok(Date.parse(report.finishedAt) - Date.parse(report.startedAt) >= 12_000);
  assert.ok(!server.asked.includes('ListClusters'), 'where instances tell the region, no further permission is needed');
});

test('a container instance that ECS does not describe for an unknown reason counts as missing and is named', async (t) => {
  const { audit, server } = await sides(t, [], [sampleInstance(1)]);
  server.refusal = 'SHARD_AWAY';
  const { code, stdout, stderr } = await audit('--cluster', 'demo');
  assert.equal(stderr, `ECS does not describe ${sampleArn(1)}: SHARD_AWAY; it counts as missing\n`);
  assert.deepEqual([code, stdout], [0, 'demo: 0 agree, none differs\n']);
});

test('if the audit could not tell there is one line with the cause, nothing on stdout, exit 2', async (t) => {
  const { audit, server } = await sides(t, [sampleNode(1)], [sampleInstance(1)]);
  const complains = async (pattern: RegExp, ...args: readonly string[]) => {
    const { code, stdout, stderr } = await audit(...args);
    assert.deepEqual([code, stdout, stderr.trimEnd().split('\n').length], [2, '', 1], stderr);
    assert.match(stderr, pattern);
  };
  await complains(/^rollcall audit: could not tell: .*ClusterNotFoundException/, '--cluster', 'none');
  await complains(
    /^rollcall audit: could not tell: .*no such file/,
    '--cluster',
    'demo',
    '--store',
    'sqlite:/none/roll.db',
  );
  assert.deepEqual(server.asked, ['ListContainerInstances'], 'a store that is away leaves ECS alone');
  await complains(/set --cluster NAME or --all-clusters/);
  await complains(/exclude each other/, '--cluster', 'demo', '--all-clusters');
  await complains(/"a\/b" is not a cluster’s name or ARN/, '--cluster', 'demo,a/b');
});
