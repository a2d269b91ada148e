import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { RollEvent } from '../../src/record/events.ts';
import { presenceState, type RollEntry } from '../../src/record/roll.ts';
import { holdLosses } from '../../src/registry/hold.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { applyEvent } from '../support/apply-event.ts';
import { type FakeStore, fakeStore } from '../support/fake-store.ts';
import { sampleRecord } from '../support/sample-record.ts';
import { simulatedClock } from '../support/simulated-clock.ts';
import { nodes } from './losses-setup.ts';

const FLEET = 40;
/** A consumer is slower than the past that it reads, and faster than what happens now. */
const HANDLING_MS = 2_000;
/** A life in which no uncertainty can last: three times the TTL of 30 s and 8 s, and as much again. */
const EVENTS_A_LIFE = 100;

/**
 * A fleet in which losses never end: 12 of 40 vanish at once, two of them for good. Later one vanishes and another one
 * is back in each round, so that at no time all are there; and in each round three records change.
 */
function restlessFleet(store: FakeStore) {
  const present = nodes(0, FLEET)[0]?.presence ?? null;
  let round = 0;
  const put = (n: number, presence: RollEntry['presence'], dice = 0) => {
    const [node] = nodes(n, n + 1, presence);
    if (node) store.commit([{ ...node, record: sampleRecord({ ...node.record, labels: { dice: String(dice) } }) }]);
  };
  store.commit(nodes(0, FLEET));
  return {
    begin: () => store.commit(nodes(0, 12, null)),
    round() {
      round += 1;
      for (const n of [30, 31, 32]) put(n, present, round);
      // Of the nodes 2 to 21 ten are away: those that vanished last.
      put(2 + ((round + 9) % 20), null);
      put(2 + ((round - 1) % 20), present);
    },
  };
}

/** A consumer behind the filter, which handles event by event, is killed after each hundredth, and started again. */
function setUp(t: TestContext) {
  const store = fakeStore();
  const clock = simulatedClock();
  const fleet = restlessFleet(store);
  const consumer = { cursor: '2', handled: 0, lives: 0, events: [] as RollEvent[] };
  let roll: Map<string, RollEntry> = new Map(nodes(0, FLEET).map((entry) => [entry.record.ec2InstanceId, entry]));

  /** Each second: what happens to the fleet, and the store's confirmation. */
  async function live(second: (n: number) => void, isOver: () => boolean) {
    consumer.lives += 1;
    const registry = createRegistry({ store, clock, random: () => 0.5, massLoss: { share: 0.1, count: 5 } });
    t.after(() => registry.close());
    const life = new AbortController();
    let handled = 0;
    const ended = (async () => {
      const events = await holdLosses(registry).events({ since: consumer.cursor, signal: life.signal });
      for await (const batch of events) {
        for (const event of batch.events) {
          await clock.sleep(HANDLING_MS, life.signal);
          roll = applyEvent(roll, event);
          consumer.events.push(event);
          handled += 1;
        }
        if (batch.cursor !== null) consumer.cursor = batch.cursor;
      }
    })().catch(() => {}); // killed
    for (let n = 0; handled < EVENTS_A_LIFE && !isOver(); n += 1) {
      second(n);
      store.confirm();
      await clock.advance(1_000);
    }
    life.abort(new Error('killed'));
    await ended;
    await registry.close();
    consumer.handled += handled;
  }

  return { store, clock, fleet, consumer, live, roll: () => roll };
}

type World = ReturnType<typeof setUp>;

async function assertSameRoll({ store, roll }: World) {
  const { entries } = await store.read(new AbortController().signal);
  assert.deepEqual([...roll().values()].sort(byId), entries);
}

const byId = (a: RollEntry, b: RollEntry) => (a.record.ec2InstanceId < b.record.ec2InstanceId ? -1 : 1);

function lostIds({ consumer }: World): readonly string[] {
  const lost = consumer.events.filter(({ kind }) => kind === 'lost');
  return [...new Set(lost.map((event) => ('instanceId' in event ? event.instanceId : '')))].sort();
}

test('a slow consumer that is killed again and again gets through a past in which losses never end', async (t) => {
  const w = setUp(t);
  w.fleet.begin();
  for (let round = 0; round < 200; round += 1) w.fleet.round();
  const isDone = () => w.consumer.cursor === w.store.revision();
  while (!isDone() && w.consumer.lives < 20) await w.live(() => {}, isDone);
  assert.ok(isDone(), `after ${w.consumer.lives} lives and ${w.consumer.handled} events it is at ${w.consumer.cursor}`);
  // 600 records changed. A life repeats what it handled before the losses of its past were certain.
  assert.ok(w.consumer.handled < 1_500, `${w.consumer.handled} events handled`);
  await assertSameRoll(w);
  const lostNow = [...w.roll().values()].filter((entry) => presenceState(entry) === 'lost');
  assert.deepEqual(lostIds(w), lostNow.map(({ record }) => record.ec2InstanceId).sort(), 'none that came back');
});

test('its cursor also moves while losses go on', async (t) => {
  const w = setUp(t);
  w.fleet.begin();
  const cursors: number[] = [];
  for (let life = 0; life < 6; life += 1) {
    // A round takes three of its events, in eight seconds.
    await w.live(
      (n) => n % 8 === 0 && w.fleet.round(),
      () => false,
    );
    cursors.push(Number(w.store.revision()) - Number(w.consumer.cursor));
  }
  // Two nodes are lost for good, the others are away for 80 s: more than a TTL, so their losses become certain, too.
  assert.ok(Math.max(...cursors) < 100, `behind the store by ${cursors} revisions`);
});
