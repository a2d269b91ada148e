import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { diffEntry } from '../../src/record/events.ts';
import type { DepartureCause, NodeRecord, Presence } from '../../src/record/record.ts';
import { presenceState, type Roll, type RollEntry } from '../../src/record/roll.ts';
import { applyEvent } from '../support/apply-event.ts';
import { diffRolls } from '../support/diff-rolls.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

const ID = sampleInstanceId();
const AT = '2026-01-01T00:00:00.000Z';
const PRESENCE: Presence = { session: 'session-a', since: AT, ttlSeconds: 30 };
const STOPPED = { cause: 'stopped', at: AT } as const;
const CRITICAL = { status: 'critical', since: AT, checks: [] } as const;
const SPOT = { kind: 'spot', action: 'terminate', time: AT } as const;

function present(overrides: Partial<NodeRecord> = {}, presence: Partial<Presence> = {}): RollEntry {
  return { record: sampleRecord(overrides), presence: { ...PRESENCE, ...presence } };
}

function gone(overrides: Partial<NodeRecord> = {}): RollEntry {
  return { record: sampleRecord(overrides), presence: null };
}

function kinds(before: RollEntry | null, after: RollEntry | null): readonly string[] {
  return diffEntry(ID, before, after, '7').map((event) => event.kind);
}

test('a node that is new on the roll is registered, departed or lost, by its state', () => {
  assert.deepEqual(kinds(null, present()), ['registered']);
  assert.deepEqual(kinds(null, gone({ departure: STOPPED })), ['departed']);
  assert.deepEqual(kinds(null, gone()), ['lost']);
});

test('a node that leaves the roll is forgotten, and one that never was on it has no event', () => {
  for (const before of [present(), gone(), gone({ departure: STOPPED })]) {
    assert.deepEqual(kinds(before, null), ['forgotten']);
  }
  assert.deepEqual(kinds(null, null), []);
});

test('a new agent on a present node is a registration, whatever else changed with it', () => {
  assert.deepEqual(kinds(present(), present({ health: CRITICAL }, { session: 'session-b' })), ['registered']);
});

test('a lost node that is present again has recovered, with the same session or another', () => {
  assert.deepEqual(kinds(gone(), present()), ['recovered']);
  assert.deepEqual(kinds(gone(), present({}, { session: 'session-b' })), ['recovered']);
});

test('a departed node that is present again has restarted, if it was away only as long as a restart takes', () => {
  const back = (cause: DepartureCause, awayMs: number) => {
    const registeredAt = new Date(Date.parse(AT) + awayMs).toISOString();
    return kinds(gone({ departure: { cause, at: AT } }), present({ registeredAt }, { session: 'session-b' }));
  };
  assert.deepEqual(back('stopped', 4_000), ['restarted']);
  assert.deepEqual(back('stopped', 15_000), ['restarted']);
  assert.deepEqual(back('stopped', 15_001), ['registered']);
  // The node's clock was set back meanwhile: nothing is known.
  assert.deepEqual(back('stopped', -1_000), ['registered']);
  assert.deepEqual(back('restart', 120_000), ['restarted']);
  // Its start failed, and an operator started it later.
  assert.deepEqual(back('restart', 120_001), ['registered']);
  assert.deepEqual(back('restart', -1_000), ['registered']);
  assert.deepEqual(back('spot-interruption', 4_000), ['registered']);
  const unreadable = gone({ departure: { cause: 'stopped', at: 'noon' } });
  assert.deepEqual(kinds(unreadable, present()), ['registered']);
});

test('the end of a presence is a loss, or with a departure a departure', () => {
  assert.deepEqual(kinds(present(), gone()), ['lost']);
  assert.deepEqual(kinds(present(), gone({ departure: STOPPED })), ['departed']);
  assert.deepEqual(kinds(gone(), gone({ departure: STOPPED })), ['departed']);
  assert.deepEqual(kinds(gone({ departure: STOPPED }), gone()), ['lost']);
});

test('another departure of a departed node is an event, the same one is not', () => {
  const again = { cause: 'stopped', at: '2026-01-02T00:00:00.000Z' } as const;
  assert.deepEqual(kinds(gone({ departure: STOPPED }), gone({ departure: again })), ['departed']);
  assert.deepEqual(kinds(gone({ departure: STOPPED }), gone({ departure: { ...STOPPED } })), []);
});

test('a change of a present node has an event for each changed part, updated first', () => {
  assert.deepEqual(kinds(present(), present({ cluster: 'other' })), ['updated']);
  assert.deepEqual(kinds(present(), present({ health: CRITICAL })), ['health']);
  assert.deepEqual(kinds(present(), present({ interruption: SPOT })), ['interruption']);
  const all = { cluster: 'other', health: CRITICAL, interruption: SPOT };
  assert.deepEqual(kinds(present(), present(all)), ['updated', 'health', 'interruption']);
});

test('a changed presence of the same session is an update', () => {
  assert.deepEqual(kinds(present(), present({}, { ttlSeconds: 60 })), ['updated']);
});

test('a changed record of a lost or departed node has the events of a present one', () => {
  assert.deepEqual(kinds(gone(), gone({ health: CRITICAL })), ['health']);
  const departed = { departure: STOPPED };
  assert.deepEqual(kinds(gone(departed), gone({ ...departed, cluster: 'other' })), ['updated']);
});

test('another order of a record’s fields is no change', () => {
  const reversed = (value: object) => Object.fromEntries(Object.entries(value).reverse());
  const record = reversed(sampleRecord({ labels: reversed({ a: '1', b: '2' }) as Record<string, string> }));
  const before = present({ labels: { a: '1', b: '2' } });
  assert.deepEqual(kinds(before, { record: record as unknown as NodeRecord, presence: { ...PRESENCE } }), []);
});

test('an event has the entries before and after and the revision, and is marked in a snapshot', () => {
  const [before, after] = [present(), gone()];
  const event = { kind: 'lost', revision: '7', instanceId: ID, before, after, snapshot: false };
  assert.deepEqual(diffEntry(ID, before, after, '7'), [event]);
  assert.equal(diffEntry(ID, null, after, '7', true)[0]?.snapshot, true);
});

const PLAIN = { noNullPrototype: true };
const entry = fc.record(
  {
    presence: fc.option(
      fc.record({ session: fc.constantFrom('a', 'b'), since: fc.constant(AT), ttlSeconds: fc.nat(1) }, PLAIN),
    ),
    record: fc.record(
      {
        cluster: fc.constantFrom('demo', 'other', null),
        health: fc.constantFrom(sampleRecord().health, CRITICAL),
        interruption: fc.constantFrom(null, SPOT),
        departure: fc.constantFrom(null, STOPPED),
      },
      PLAIN,
    ),
  },
  PLAIN,
);
const entries = fc.dictionary(fc.nat(5).map(sampleInstanceId), entry);

function roll(of: Record<string, { record: Partial<NodeRecord>; presence: Presence | null }>, revision: string): Roll {
  const list = Object.entries(of).map(([ec2InstanceId, { record, presence }]) => ({
    record: sampleRecord({ ...record, ec2InstanceId }),
    presence,
  }));
  return { revision, entries: list.sort(byId), skipped: [] };
}

function byId(a: RollEntry, b: RollEntry): number {
  return a.record.ec2InstanceId < b.record.ec2InstanceId ? -1 : 1;
}

function known({ entries }: Roll): Map<string, RollEntry> {
  return new Map(entries.map((each) => [each.record.ec2InstanceId, each]));
}

test('applying the events to the first roll gives the second', () => {
  fc.assert(
    fc.property(entries, entries, (a, b) => {
      const [before, after] = [roll(a, '1'), roll(b, '2')];
      const applied = diffRolls(before, after).reduce(applyEvent, known(before));
      assert.deepEqual([...applied.values()].sort(byId), after.entries);
    }),
  );
});

test('equal rolls have no events', () => {
  fc.assert(fc.property(entries, (a) => assert.deepEqual(diffRolls(roll(a, '1'), roll(structuredClone(a), '2')), [])));
});

test('events are sorted by id and kind, in whatever order the rolls were built', () => {
  const rank = [
    'registered',
    'restarted',
    'recovered',
    'departed',
    'lost',
    'forgotten',
    'updated',
    'health',
    'interruption',
  ];
  fc.assert(
    fc.property(entries, entries, (a, b) => {
      const events = diffRolls(roll(a, '1'), roll(b, '2'));
      const shuffled = ({ entries, ...rest }: Roll): Roll => ({ ...rest, entries: entries.toReversed() });
      assert.deepEqual(diffRolls(shuffled(roll(a, '1')), shuffled(roll(b, '2'))), events);
      const places = events.map(({ instanceId, kind }) => `${instanceId} ${rank.indexOf(kind)}`);
      assert.deepEqual(places, [...new Set(places)].sort());
    }),
  );
});

test('the kind of an event fits the node’s state after it', () => {
  const after = {
    registered: 'present',
    restarted: 'present',
    recovered: 'present',
    lost: 'lost',
    departed: 'departed',
    forgotten: 'nothing',
  } as const;
  const stateOf = (each: RollEntry | null) => (each ? presenceState(each) : 'nothing');
  fc.assert(
    fc.property(entries, entries, (a, b) => {
      for (const event of diffRolls(roll(a, '1'), roll(b, '2'))) {
        const sameState = stateOf(event.before);
        const expected = event.kind in after ? after[event.kind as keyof typeof after] : sameState;
        assert.equal(stateOf(event.after), expected);
      }
    }),
  );
});
