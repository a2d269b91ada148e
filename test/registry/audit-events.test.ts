import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { cloudEvent, filterEvent } from '../../src/record/cloud-event.ts';
import { encodeDifference, type KeptDifference } from '../../src/record/difference.ts';
import type { RollEvent } from '../../src/record/events.ts';
import { EVERY_NODE } from '../../src/record/filter.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { differenceKey } from '../../src/store/keys.ts';
import { openStore } from '../../src/store/open-store.ts';
import { seededRandom } from '../support/seeded-random.ts';

const { signal } = new AbortController();
const ghost = (n: number): KeptDifference => ({
  ...{ kind: 'ghost', instanceId: `i-0000000${n}`, cluster: 'demo', privateIpAddress: null },
  containerInstanceArn: `arn:aws:ecs:us-east-1:123456789012:container-instance/demo/${n}`,
  ...{ since: '2026-01-01T00:00:00.000Z', reason: 'never on the roll' },
});
const keyOf = (n: number) => differenceKey('ghost', `i-0000000${n}:${n}`);

async function start(t: TestContext) {
  const config = { kind: 'memory', label: 'memory:', name: randomUUID() } as const;
  const options = { clock: systemClock, random: seededRandom(1), create: true, signal };
  const store = await openStore(config, options);
  const registry = createRegistry({ store, clock: systemClock, random: seededRandom(1) });
  t.after(async () => {
    await registry.close();
    await store.close();
  });
  const elected = await store.leaderLocks.campaign('audit', { session: 's', instanceId: null, ttlMs: 60_000 }, signal);
  assert.ok(elected.kind === 'elected');
  let summary = 0;
  /** As an audit writes them. */
  const write = async (differences: Readonly<Record<string, string | null>>) => {
    summary += 1;
    const documents = { summary: `s${summary}` };
    const outcome = await store.leaderLocks.publish(elected.term, documents, signal, { differences });
    assert.ok(outcome.kind === 'published');
    return outcome.revision;
  };
  /** Events until `enough`; a line each. */
  const read = async (since: string | null, enough: (lines: readonly string[]) => boolean) => {
    const stop = new AbortController();
    const lines: string[] = [];
    const events: RollEvent[] = [];
    const stream = await registry.events({ since, signal: stop.signal });
    for await (const batch of stream) {
      for (const event of batch.events) {
        events.push(event);
        const about = 'difference' in event ? ` ${event.difference.instanceId}${event.snapshot ? '*' : ''}` : '';
        lines.push(`${event.kind}${about}`);
      }
      if (enough(lines)) break;
    }
    stop.abort(new Error('read'));
    return { lines, events };
  };
  return { store, write, read };
}

test('a difference and its end are events, each once, in a snapshot, live and for a reader that resumes', async (t) => {
  const { store, write, read } = await start(t);
  const first = await write({ [keyOf(1)]: encodeDifference(ghost(1)) });
  const before = await read(null, (lines) => lines.includes('synced'));
  assert.deepEqual(before.lines, ['difference i-00000001*', 'synced']);

  const live = read(null, (lines) => lines.includes('resolved i-00000001'));
  await write({ [keyOf(2)]: encodeDifference(ghost(2)) });
  // The same in other words is no event.
  await write({ [keyOf(2)]: encodeDifference({ ...ghost(2), reason: 'its ecs-agent is disconnected' }) });
  await write({ [keyOf(1)]: null });
  const { lines } = await live;
  const synced = lines.indexOf('synced');
  assert.deepEqual(
    lines.slice(synced + 1).filter((line) => line !== 'difference i-00000002'),
    ['resolved i-00000001'],
  );

  const resumed = await read(first, (each) => each.includes('resolved i-00000001'));
  assert.deepEqual(resumed.lines, ['difference i-00000002', 'resolved i-00000001']);
  const roll = await store.read(signal);
  assert.deepEqual([roll.entries, roll.skipped], [[], []], 'no node, and no foreign key');
});

test('as a CloudEvent it has its own type, subject and id, and a filter by cluster applies', () => {
  const event = { kind: 'difference', revision: '7', key: keyOf(1), difference: ghost(1), snapshot: false } as const;
  const { id, type, subject, data } = cloudEvent(event, 'store', 0);
  assert.deepEqual(
    [id, type, subject],
    ['7/differences/ghost/i-00000001:1/difference', 'rollcall.audit.difference', 'i-00000001'],
  );
  assert.deepEqual(data, ghost(1));
  assert.notEqual(cloudEvent({ ...event, snapshot: true }, 'store', 0).id, id);
  const nameless = { ...event, difference: { ...ghost(1), instanceId: null } };
  assert.equal(cloudEvent(nameless, 'store', 0).subject, ghost(1).containerInstanceArn);
  const within = (cluster: string) =>
    filterEvent(event, { kinds: null, nodes: { ...EVERY_NODE, cluster: new Set([cluster]) } });
  assert.deepEqual([within('demo') === event, within('other')], [true, null]);
  assert.equal(filterEvent(event, { kinds: new Set(['lost']), nodes: EVERY_NODE }), null);
});
