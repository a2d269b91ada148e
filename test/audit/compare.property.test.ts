import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isDifference } from '../../src/audit/audit-report.ts';
import type { BothSides } from '../../src/audit/compare.ts';
import { compareRolls } from '../../src/audit/compare.ts';
import { emptyAuditMemory } from '../../src/audit/history.ts';
import { buildAuditReport } from '../../src/audit/run-audit.ts';
import type { ContainerInstance } from '../../src/ecs/ecs-api.ts';
import { presenceState, type RollEntry } from '../../src/record/roll.ts';
import { fewerInQuickRun } from '../support/quick-run.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { absentNode, ago, NOW_MS, sampleArn, sampleInstance, sampleNode, sampleSides } from './sample-sides.ts';

const RUNS = { numRuns: fewerInQuickRun(2_000) };
const NODES = 4;

const clusters = fc.constantFrom('demo', 'other');
const someArn = fc
  .tuple(fc.nat(NODES - 1), clusters, fc.nat(1))
  .map(([n, cluster, registration]) => ({ cluster, containerInstanceArn: sampleArn(n, cluster, registration) }));

const arbitraryEntry = (n: number): fc.Arbitrary<RollEntry> =>
  fc
    .tuple(
      fc.constantFrom('present', 'departed', 'lost'),
      fc.oneof(
        someArn,
        fc.constant({ cluster: null, containerInstanceArn: null }),
        fc.constant({ cluster: 'demo', containerInstanceArn: null }),
      ),
    )
    .map(([state, identity]) => {
      if (state === 'present') return sampleNode(n, identity);
      return absentNode(n, state === 'lost' ? null : { cause: 'stopped', at: ago(3) }, identity);
    });

const arbitraryInstance: fc.Arbitrary<ContainerInstance> = fc
  .tuple(
    someArn,
    fc.option(fc.nat(NODES - 1).map(sampleInstanceId)),
    fc.constantFrom('ACTIVE', 'DRAINING', 'REGISTERING', 'DEREGISTERING', 'REGISTRATION_FAILED', 'INACTIVE', 'NOVEL'),
    fc.boolean(),
    fc.option(fc.constantFrom(ago(1), ago(60), ago(90))),
  )
  .map(([identity, ec2InstanceId, status, agentConnected, registeredAt]) =>
    sampleInstance(0, { ...identity, ec2InstanceId, status, agentConnected, registeredAt }),
  );

const arbitrarySides: fc.Arbitrary<BothSides> = fc
  .tuple(
    fc.tuple(...Array.from({ length: NODES }, (_, n) => fc.option(arbitraryEntry(n)))),
    fc.uniqueArray(arbitraryInstance, { selector: (each) => each.containerInstanceArn, maxLength: 8 }),
    fc.constantFrom<readonly string[]>(['demo'], ['demo', 'other']),
    fc.boolean(),
  )
  .map(([entries, instances, asked, all]) =>
    sampleSides(
      entries.filter((entry) => entry !== null),
      instances.filter(({ cluster }) => asked.includes(cluster)),
      { clusters: asked, all },
    ),
  );

const compare = (sides: BothSides) => compareRolls(sides, emptyAuditMemory, NOW_MS);
const report = (sides: BothSides) =>
  buildAuditReport(compare(sides), { clusters: sides.clusters, startedMs: 0, finishedMs: 0, revision: '1' });
const arns = (instances: readonly ContainerInstance[]) => instances.map((each) => each.containerInstanceArn).sort();

test('each container instance and each present node is in exactly one verdict', () => {
  fc.assert(
    fc.property(arbitrarySides, (sides) => {
      const verdicts = compare(sides);
      const seen = verdicts.flatMap(({ instance }) => (instance ? [instance] : []));
      assert.deepEqual(arns(seen), arns(sides.instances.filter(({ status }) => status !== 'INACTIVE')));
      const nodes = verdicts.flatMap(({ node }) => (node ? [node.record.ec2InstanceId] : []));
      const present = sides.roll.entries.filter((entry) => presenceState(entry) === 'present');
      assert.deepEqual(nodes.sort(), present.map(({ record }) => record.ec2InstanceId).sort());
      const { agreeing, elsewhere, differences, notes } = report(sides);
      assert.equal(agreeing + elsewhere + differences.length + notes.length, verdicts.length);
    }),
    RUNS,
  );
});

test('the order of either side changes nothing', () => {
  fc.assert(
    fc.property(arbitrarySides, fc.infiniteStream(fc.nat()), (sides, random) => {
      const shuffled = <T>(list: readonly T[]) =>
        list
          .map((each) => ({ each, at: random.next().value ?? 0 }))
          .sort((a, b) => a.at - b.at)
          .map(({ each }) => each);
      const { roll, instances } = sides;
      const other = { ...sides, roll: { ...roll, entries: shuffled(roll.entries) }, instances: shuffled(instances) };
      assert.deepEqual(report(other), report(sides));
    }),
    RUNS,
  );
});

test('equal sides agree; a node removed from one side only is a ghost or a stray', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 30 }), fc.nat(), (size, pick) => {
      const numbers = Array.from({ length: size }, (_, n) => n);
      const odd = pick % size;
      const nodes = (without: number | null) => numbers.filter((n) => n !== without).map((n) => sampleNode(n));
      const instances = (without: number | null) => numbers.filter((n) => n !== without).map((n) => sampleInstance(n));
      const same = report(sampleSides(nodes(null), instances(null)));
      assert.deepEqual([same.agreeing, same.differences, same.notes], [size, [], []]);
      for (const [kind, sides] of [
        ['ghost', sampleSides(nodes(odd), instances(null))],
        ['stray', sampleSides(nodes(null), instances(odd))],
      ] as const) {
        const { agreeing, differences, notes } = report(sides);
        assert.equal(agreeing, size - 1);
        assert.deepEqual(
          differences.map((each) => [each.kind, each.instanceId, each.containerInstanceArn]),
          [[kind, sampleInstanceId(odd), sampleArn(odd)]],
        );
        assert.deepEqual(notes, []);
      }
    }),
    { numRuns: fewerInQuickRun(200) },
  );
});

test('a disconnected agent without evidence of its duration is never a difference', () => {
  fc.assert(
    fc.property(arbitrarySides, (sides) => {
      assert.equal(compare(sides).filter(({ kind }) => kind === 'disconnected').length, 0);
      // Which instances are connected decides only about those of present nodes. It never makes a ghost agree. An instance
      // that a record names belongs to that node, unless the node has another connected one.
      const named = new Set(sides.roll.entries.map(({ record }) => record.containerInstanceArn));
      const away = { ...sides, instances: sides.instances.map((each) => ({ ...each, agentConnected: false })) };
      const ghosts = (verdicts: ReturnType<typeof compare>) =>
        verdicts.filter(
          ({ kind, record, instance }) =>
            isDifference(kind) && record === null && !named.has(instance?.containerInstanceArn ?? null),
        ).length;
      assert.equal(ghosts(compare(away)), ghosts(compare(sides)));
    }),
    RUNS,
  );
});
