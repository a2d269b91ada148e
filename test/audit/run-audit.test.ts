import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AuditMemory, emptyAuditMemory } from '../../src/audit/history.ts';
import { RECHECK_AFTER_MS, runAudit } from '../../src/audit/run-audit.ts';
import type { ContainerInstance } from '../../src/ecs/ecs-api.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Store } from '../../src/store/store.ts';
import { fakeStore } from '../support/fake-store.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { type SimulatedClock, simulatedClock } from '../support/simulated-clock.ts';
import { type FakeEcs, fakeEcs } from './fake-ecs.ts';
import { absentNode, NOW_MS, sampleArn, sampleInstance, sampleNode } from './sample-sides.ts';

const { signal } = new AbortController();

interface World {
  readonly clock: SimulatedClock;
  readonly store: ReturnType<typeof fakeStore>;
  readonly ecs: FakeEcs;
}

function world(entries: readonly RollEntry[], instances: readonly ContainerInstance[]): World {
  const store = fakeStore();
  store.commit(entries);
  return { clock: simulatedClock({ wallMs: NOW_MS }), store, ecs: fakeEcs(instances) };
}

/** Runs one audit. `between` is called during each wait, with the number of the wait from 1. */
async function audit(
  { clock, store, ecs }: Omit<World, 'store'> & { store: Pick<Store, 'read' | 'readOne'> },
  between: (wait: number) => void = () => {},
  memory: AuditMemory = emptyAuditMemory,
  clusters: readonly string[] | null = ['demo'],
) {
  let waits = 0;
  const onRecheck = () => {
    waits += 1;
    between(waits);
  };
  let isDone = false;
  const audited = runAudit({ store, ecs, clock, onRecheck }, { clusters, memory }, signal).finally(() => {
    isDone = true;
  });
  audited.catch(() => {});
  while (!isDone) await clock.advance(RECHECK_AFTER_MS);
  return { ...(await audited), waits };
}

const kinds = (list: readonly { readonly kind: string; readonly instanceId: string | null }[]) =>
  list.map(({ kind, instanceId }) => `${kind} ${instanceId}`);

test('two equal sides are compared once, without a wait or a write', async () => {
  const { store, ecs, clock } = world([sampleNode(1), sampleNode(2)], [sampleInstance(1), sampleInstance(2)]);
  const { report, memory, waits } = await audit({ store, ecs, clock });
  assert.deepEqual(report, {
    schemaVersion: 1,
    clusters: ['demo'],
    startedAt: '2026-01-02T00:00:00.000Z',
    finishedAt: '2026-01-02T00:00:00.000Z',
    revision: '2',
    agreeing: 2,
    elsewhere: 0,
    differences: [],
    notes: [],
  });
  assert.equal(waits, 0);
  assert.deepEqual(memory, emptyAuditMemory);
  assert.deepEqual(ecs.requests, ['list demo', 'describe demo 2']);
  assert.equal(store.calls.read, 1);
});

test('a machine whose clock is an hour off finds the same as one whose clock is right', async () => {
  const minutesAgo = (minutes: number) => new Date(NOW_MS - minutes * 60_000).toISOString();
  const checks = [{ name: 'ecs-agent', status: 'critical' as const, reason: 'refused', since: minutesAgo(1) }];
  const health = { status: 'critical' as const, since: minutesAgo(1), checks };
  for (const skewMs of [0, 3_600_000, -3_600_000]) {
    const { store, ecs } = world(
      [sampleNode(1, { health, clockSkewSeconds: 0 })],
      [
        sampleInstance(1, { agentConnected: false }),
        sampleInstance(2, { registeredAt: minutesAgo(2) }),
        sampleInstance(3, { registeredAt: minutesAgo(7) }),
      ],
    );
    const clock = simulatedClock({ wallMs: NOW_MS + skewMs });
    const { report } = await audit({ store, ecs: { ...ecs, clockSkewMs: () => skewMs + 700 }, clock });
    assert.deepEqual(kinds([...report.differences, ...report.notes]), [
      'ghost i-00000003',
      'disconnected-now i-00000001',
      'registering i-00000002',
    ]);
    assert.deepEqual([report.startedAt, report.finishedAt], [minutesAgo(0), minutesAgo(-0.2)]);
  }
});

test('a difference counts only if a second comparison finds it, which reads only what differs', async () => {
  const { store, ecs, clock } = world(
    [sampleNode(1), sampleNode(2), absentNode(3, null)],
    [sampleInstance(1), sampleInstance(3)],
  );
  const { report, memory, waits } = await audit({ store, ecs, clock });
  assert.deepEqual(kinds(report.differences), ['ghost i-00000003', 'stray i-00000002']);
  assert.deepEqual(
    report.differences.map(({ cluster, privateIpAddress }) => [cluster, privateIpAddress]),
    [
      ['demo', '10.0.0.3'],
      ['demo', '10.0.0.2'],
    ],
  );
  assert.equal(report.agreeing, 1);
  assert.equal(waits, 1);
  assert.deepEqual(ecs.requests, ['list demo', 'describe demo 2', 'describe demo 2']);
  assert.equal(store.calls.read, 1);
  assert.deepEqual(
    Object.values(memory.sightings).map(({ audits }) => audits),
    [1, 1],
  );
  const again = await audit({ store, ecs, clock }, undefined, memory);
  assert.deepEqual(
    again.report.differences.map(({ since }) => since),
    [report.finishedAt, report.finishedAt],
  );
});

test('sides that are equal at the second comparison do not differ: a new node, a new ARN, a late registration', async () => {
  const renewed = sampleNode(3, { containerInstanceArn: sampleArn(3, 'demo', 1) });
  const { store, ecs, clock } = world(
    [sampleNode(2), sampleNode(3)],
    [sampleInstance(1), sampleInstance(3, { containerInstanceArn: sampleArn(3, 'demo', 1) })],
  );
  const { report, waits } = await audit({ store, ecs, clock }, () => {
    store.commit([sampleNode(1), renewed]);
    ecs.instances = [...ecs.instances, sampleInstance(2)];
  });
  assert.deepEqual([report.agreeing, report.differences, report.notes, waits], [3, [], [], 1]);
  assert.equal(report.revision, '3');
});

test('a container instance registered between two comparisons is found by the ARN in the new record', async () => {
  const { store, ecs, clock } = world([sampleNode(1)], []);
  const { report, waits } = await audit({ store, ecs, clock }, () => {
    store.commit([sampleNode(1, { containerInstanceArn: sampleArn(1, 'demo', 1) })]);
    ecs.instances = [sampleInstance(1, { containerInstanceArn: sampleArn(1, 'demo', 1) })];
  });
  assert.deepEqual([report.agreeing, report.differences, waits], [1, [], 1]);
});

test('a node that the store has forgotten by the second comparison is not a stray', async () => {
  const { store, ecs, clock } = world([sampleNode(1)], []);
  const { report } = await audit({ store, ecs, clock }, () => store.commit([], [sampleInstanceId(1)]));
  assert.deepEqual([report.differences, report.notes], [[], []]);
});

test('for a container instance without an instance id the whole roll is read again', async () => {
  const { store, ecs, clock } = world([], [sampleInstance(1, { ec2InstanceId: null })]);
  const { report } = await audit({ store, ecs, clock }, () => store.commit([sampleNode(1)]));
  assert.deepEqual([report.agreeing, report.differences], [1, []]);
});

test('a node is described in the cluster of its ARN, because ECS refuses it in another', async () => {
  const inOther = sampleNode(2, { containerInstanceArn: sampleArn(2, 'other'), cluster: 'demo' });
  const { store, ecs, clock } = world([sampleNode(1), inOther], [sampleInstance(1)]);
  const one = await audit({ store, ecs, clock });
  assert.deepEqual([one.report.differences, one.report.elsewhere], [[], 1]);
  ecs.clusters = ['demo', 'other'];
  const all = await audit({ store, ecs, clock }, undefined, undefined, null);
  assert.deepEqual(kinds(all.report.differences), ['stray i-00000002']);
  assert.equal(ecs.requests.at(-1), 'describe other 1');
});

test('a ghost that ECS has deregistered by the second comparison is not reported', async () => {
  const { store, ecs, clock } = world([absentNode(1, null)], [sampleInstance(1)]);
  const { report } = await audit({ store, ecs, clock }, () => {
    ecs.instances = [];
  });
  assert.deepEqual([report.agreeing, report.differences, report.notes], [0, [], []]);
});

test('a node that differs in another way is compared again until the difference repeats', async () => {
  const { store, ecs, clock } = world([sampleNode(1)], []);
  const settled = await audit({ store, ecs, clock }, (wait) => {
    if (wait > 1) return;
    ecs.instances = [sampleInstance(1)];
    store.commit([absentNode(1, { cause: 'stopped', at: '2026-01-02T00:00:05.000Z' })]);
  });
  assert.deepEqual(kinds(settled.report.differences), ['ghost i-00000001']);
  assert.equal(settled.waits, 2);
});

test('a node whose difference never repeats is the note changing, not a difference', async () => {
  const { store, ecs, clock } = world([sampleNode(1), sampleNode(2)], []);
  const { report, waits } = await audit({ store, ecs, clock }, (wait) => {
    store.commit([sampleNode(1, { containerInstanceArn: sampleArn(1, 'demo', wait) })]);
  });
  assert.equal(waits, 3);
  assert.deepEqual(kinds(report.differences), ['stray i-00000002']);
  assert.deepEqual(kinds(report.notes), ['changing i-00000001']);
  assert.match(report.notes[0]?.reason ?? '', /^changed at each comparison, last stray: ECS does not know/);
});

test('many differences are described 100 at a time, and then the whole roll is read once more', async () => {
  const numbers = Array.from({ length: 250 }, (_, n) => n);
  const { store, ecs, clock } = world(
    [],
    numbers.map((n) => sampleInstance(n)),
  );
  const { report } = await audit({ store, ecs, clock });
  assert.equal(report.differences.length, 250);
  const described = ecs.requests.filter((request) => request.startsWith('describe'));
  assert.deepEqual(
    described,
    [100, 100, 50, 100, 100, 50].map((count) => `describe demo ${count}`),
  );
  assert.equal(store.calls.read, 2);
});

test('if a side answers partly or not at all the audit fails without differences', async (t) => {
  const sides = (): World => world([sampleNode(1)], []);
  await t.test('the store', async () => {
    const down = sides();
    down.store.mode = 'down';
    await assert.rejects(audit(down), /connection refused/);
    assert.deepEqual(down.ecs.requests, []);
    const later = sides();
    await assert.rejects(
      audit(later, () => {
        later.store.mode = 'down';
      }),
      /connection refused/,
    );
  });
  await t.test('a page of ECS', async () => {
    const cut = world(
      [sampleNode(1)],
      Array.from({ length: 150 }, (_, n) => sampleInstance(n)),
    );
    cut.ecs.onRequest = () => {
      if (cut.ecs.requests.length === 2) throw new Error('ThrottlingException');
    };
    await assert.rejects(audit(cut), /ThrottlingException/);
  });
  await t.test('a container instance of the second comparison', async () => {
    const part = sides();
    part.ecs.onDescribe = () => ({ instances: [], failures: [] });
    await assert.rejects(audit(part), /^EcsError: describe arn:.*: no answer$/);
  });
});

test('an abort ends the wait', async () => {
  const { store, ecs, clock } = world([sampleNode(1)], []);
  const abort = new AbortController();
  const onRecheck = () => setImmediate(() => abort.abort(new Error('ended by SIGINT')));
  const audited = runAudit(
    { store, ecs, clock, onRecheck },
    { clusters: ['demo'], memory: emptyAuditMemory },
    abort.signal,
  );
  await assert.rejects(audited, /ended by SIGINT/);
});

test('without instances, region and account come from the cluster ARNs; a node of another region is not a stray', async () => {
  const elsewhere = sampleNode(2, { containerInstanceArn: sampleArn(2).replace('us-east-1', 'eu-west-1') });
  const { store, ecs, clock } = world([sampleNode(1), elsewhere], []);
  const { report } = await audit({ store, ecs, clock });
  assert.deepEqual([kinds(report.differences), report.elsewhere], [['stray i-00000001'], 1]);
  assert.ok(ecs.requests.includes('clusters'));
});

test('all clusters are compared; without any cluster the audit fails', async () => {
  const there = { containerInstanceArn: sampleArn(2, 'other'), cluster: 'other' };
  const { store, ecs, clock } = world(
    [sampleNode(1), sampleNode(2, there)],
    [sampleInstance(1), sampleInstance(2, there)],
  );
  ecs.clusters = ['other', 'demo'];
  const { report } = await audit({ store, ecs, clock }, undefined, undefined, null);
  assert.deepEqual([report.clusters, report.agreeing, report.elsewhere], [['demo', 'other'], 2, 0]);
  ecs.clusters = [];
  await assert.rejects(
    audit({ store, ecs, clock }, undefined, undefined, null),
    /fake ECS has no ECS cluster .*--region/,
  );
});

test('a cluster given by name and by ARN is read once', async () => {
  const { store, ecs, clock } = world([sampleNode(1)], [sampleInstance(1)]);
  const named = ['demo', 'arn:aws:ecs:us-east-1:123456789012:cluster/demo', 'demo'];
  const { report } = await audit({ store, ecs, clock }, undefined, undefined, named);
  assert.deepEqual([report.clusters, report.agreeing, report.elsewhere], [['demo'], 1, 0]);
});

test('two cluster ARNs with the same name are both read, and ECS answers that it does not have the one of the other region', async () => {
  const { store, ecs, clock } = world([sampleNode(1)], [sampleInstance(1)]);
  const here = 'arn:aws:ecs:us-east-1:123456789012:cluster/demo';
  const there = here.replace('us-east-1', 'eu-west-1');
  ecs.onRequest = (request) => {
    if (request === `list ${there}`) throw new Error('ClusterNotFoundException');
  };
  for (const named of [
    [there, here],
    [here, there],
    [there, 'demo'],
    ['demo', there],
  ]) {
    await assert.rejects(audit({ store, ecs, clock }, undefined, undefined, named), /ClusterNotFound/, String(named));
  }
});

test('an invalid ARN in a record, for which ECS would refuse the whole request, is not sent', async () => {
  const odd = { containerInstanceArn: 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/..' };
  const { store, ecs, clock } = world([sampleNode(1, odd), sampleNode(2)], []);
  const { report } = await audit({ store, ecs, clock });
  assert.deepEqual(kinds(report.differences), ['stray i-00000001', 'stray i-00000002']);
  assert.deepEqual(ecs.requests.at(-1), 'describe demo 1');
});

test('against a real store: nodes that depart and return between the comparisons', async (t) => {
  const clock = simulatedClock({ wallMs: NOW_MS });
  const deps = { clock, random: Math.random, signal, create: true };
  const store = await openStore({ kind: 'memory', label: 'memory:audit', name: 'audit' }, deps);
  t.after(() => store.close());
  const register = async (n: number) => {
    const registration = {
      instanceId: sampleInstanceId(n),
      session: 's',
      since: '2026-01-01T00:00:00.000Z',
      ttlMs: 3_600_000,
      retentionMs: 86_400_000,
    };
    const outcome = await store.register(registration, sampleNode(n).record, { takeover: true, signal });
    assert.equal(outcome.kind, 'registered');
    return outcome.kind === 'registered' ? outcome.hold : assert.fail();
  };
  await register(1);
  const hold = await register(2);
  await store.depart(hold, absentNode(2, { cause: 'stopped', at: '2026-01-01T23:59:00.000Z' }).record, signal);
  const ecs = fakeEcs([1, 2].map((n) => sampleInstance(n)));
  const { report } = await audit({ store, ecs, clock });
  assert.deepEqual(kinds(report.differences), ['ghost i-00000002']);
  assert.equal(report.differences[0]?.since, '2026-01-01T23:59:00.000Z');
  const back = await audit({ store, ecs, clock }, () => void register(2));
  assert.deepEqual([back.report.agreeing, back.report.differences], [2, []]);
});
