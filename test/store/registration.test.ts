import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodePresence, encodeRecord } from '../../src/record/codec.ts';
import type { KeyValue } from '../../src/store/kv.ts';
import { decideDeparture, decideRegistration, whyNotHeld } from '../../src/store/registration.ts';
import type { Hold } from '../../src/store/store.ts';
import { sampleRecord } from '../support/sample-record.ts';

const registration = { instanceId: 'i-00000000', session: 'mine', since: 'x', ttlMs: 30_000, retentionMs: 60_000 };
const hold: Hold = { registration, ttlMs: 30_000, presenceLease: '1', retentionLease: '2' };
const at = (second: number) => `2026-01-01T00:00:0${second}Z`;
const kv = (key: string, value: string): KeyValue => ({ key, value, lease: '9', modRevision: '5' });
const presenceOf = (session: string, since = 'x') =>
  kv('v1/presence/i-00000000', encodePresence({ session, since, ttlSeconds: 30 }));
const recordBy = (session: string) =>
  kv('v1/records/i-00000000', encodeRecord(sampleRecord({ sidecar: { version: '1', session } })));
const junk = kv('v1/presence/i-00000000', 'junk');

describe('deciding about a seat', () => {
  const guard = (modRevision: string) => ({
    kind: 'take',
    guards: [{ key: 'v1/presence/i-00000000', modRevision }],
  });

  it('takes one that is free, its own or held by nobody it can name', () => {
    assert.deepEqual(decideRegistration(registration, false, null), guard('0'));
    assert.deepEqual(decideRegistration(registration, false, presenceOf('mine')), guard('5'));
    assert.deepEqual(decideRegistration(registration, false, junk), guard('5'));
  });

  it('takes one of another session only where it is told to', () => {
    assert.deepEqual(decideRegistration(registration, true, presenceOf('other')), guard('5'));
    assert.deepEqual(decideRegistration(registration, false, presenceOf('other')), { kind: 'superseded', by: 'other' });
  });

  it('leaves it to another session that started later, and takes it where that is not certain', () => {
    const decide = (ours: string, theirs: string) =>
      decideRegistration({ ...registration, since: ours }, true, presenceOf('other', theirs)).kind;
    assert.equal(decide(at(1), at(2)), 'superseded');
    for (const [ours, theirs] of [
      [at(2), at(2)],
      [at(2), at(1)],
      ['x', at(2)],
      [at(2), 'x'],
      [at(2), '2026-01-01T01:00:01+01:00'],
    ] as const) {
      assert.equal(decide(ours, theirs), 'take', `${ours} against ${theirs}`);
    }
    assert.equal(
      decideRegistration({ ...registration, since: at(1) }, true, presenceOf('mine', at(2))).kind,
      'take',
      'its own',
    );
  });

  it('is superseded by a session that it can name, and has otherwise lost its lease', () => {
    assert.deepEqual(whyNotHeld(hold, presenceOf('other')), { kind: 'superseded', by: 'other' });
    for (const seen of [null, junk, presenceOf('mine')]) assert.deepEqual(whyNotHeld(hold, seen), { kind: 'lost' });
  });
});

describe('deciding about a departure', () => {
  it('leaves a seat alone that another session holds, even under a record of its own', () => {
    const seen = { presence: presenceOf('other'), record: recordBy('mine') };
    assert.deepEqual(decideDeparture(hold, '{}', seen), { kind: 'superseded', by: 'other' });
  });

  it('leaves a record alone that another session wrote, or that nobody can read', () => {
    const other = decideDeparture(hold, '{}', { presence: null, record: recordBy('other') });
    assert.deepEqual(other, { kind: 'superseded', by: 'other' });
    for (const record of [null, kv('v1/records/i-00000000', 'junk')]) {
      assert.deepEqual(decideDeparture(hold, '{}', { presence: null, record }), { kind: 'lost' });
    }
  });

  it('writes over its own record while neither key changes', () => {
    for (const [presence, modRevision] of [
      [null, '0'],
      [presenceOf('mine'), '5'],
    ] as const) {
      assert.deepEqual(decideDeparture(hold, '{}', { presence, record: recordBy('mine') }), {
        kind: 'write',
        guards: [
          { key: 'v1/presence/i-00000000', modRevision },
          { key: 'v1/records/i-00000000', modRevision: '5' },
        ],
      });
    }
  });

  it('has nothing to do where the departure is there already', () => {
    const record = recordBy('mine');
    const decision = decideDeparture(hold, record.value, { presence: null, record });
    assert.deepEqual(decision, { kind: 'written', revision: '5' });
  });
});
