import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodePresence, encodeRecord } from '../../src/record/codec.ts';
import type { KeyValue } from '../../src/store/kv.ts';
import { decideDeparture, whyNotHeld } from '../../src/store/registered-session.ts';
import type { Hold } from '../../src/store/store.ts';
import { sampleRecord } from '../support/sample-record.ts';

const registration = { instanceId: 'i-00000000', session: 'mine', since: 'x', ttlMs: 30_000, retentionMs: 60_000 };
const leases = { presenceLease: '1', retentionLease: '2', mayComeLate: false };
const hold: Hold = { registration, ttlMs: 30_000, ...leases };
const kv = (key: string, value: string): KeyValue => ({ key, value, lease: '9', modRevision: '5' });
const presenceOf = (session: string, since = 'x') =>
  kv('v1/presence/i-00000000', encodePresence({ session, since, ttlSeconds: 30 }));
const recordBy = (session: string) =>
  kv('v1/records/i-00000000', encodeRecord(sampleRecord({ sidecar: { version: '1', session } })));
const since = (second: number) => `2026-01-01T00:00:0${second}Z`;
const later: Hold = { ...hold, registration: { ...registration, since: since(2) } };
const junk = kv('v1/presence/i-00000000', 'junk');

describe('deciding about a registration that is not held', () => {
  it('is superseded by another session, and has otherwise lost its lease', () => {
    assert.deepEqual(whyNotHeld(hold, presenceOf('other').value), { kind: 'superseded', by: 'other' });
    for (const seen of [null, junk.value, presenceOf('mine').value])
      assert.deepEqual(whyNotHeld(hold, seen), { kind: 'lost' });
  });

  it('has lost it to a session that certainly started earlier, as after a restored backup', () => {
    assert.deepEqual(whyNotHeld(later, presenceOf('other', since(1)).value), { kind: 'lost' });
    for (const theirs of [since(2), since(3), 'x'])
      assert.deepEqual(
        whyNotHeld(later, presenceOf('other', theirs).value),
        { kind: 'superseded', by: 'other' },
        theirs,
      );
  });
});

describe('deciding about a departure', () => {
  it('writes nothing when another session is registered, even if the record is its own', () => {
    const seen = { presence: presenceOf('other'), record: recordBy('mine') };
    assert.deepEqual(decideDeparture(hold, '{}', seen), { kind: 'superseded', by: 'other' });
  });

  it('replaces the keys of a session that certainly started earlier, and no others', () => {
    const presence = presenceOf('other', since(1));
    for (const writer of ['other', 'mine']) {
      const decision = decideDeparture(later, '{}', { presence, record: recordBy(writer) });
      assert.deepEqual(
        decision,
        {
          kind: 'write',
          guards: [
            { key: 'v1/presence/i-00000000', modRevision: '5' },
            { key: 'v1/records/i-00000000', modRevision: '5' },
          ],
        },
        writer,
      );
    }
    for (const record of [null, recordBy('third'), kv('v1/records/i-00000000', 'junk')])
      assert.deepEqual(decideDeparture(later, '{}', { presence, record }), { kind: 'lost' });
  });

  it('does not replace a record that another session wrote, or that is unreadable', () => {
    const other = decideDeparture(hold, '{}', { presence: null, record: recordBy('other') });
    // It may be of the session before.
    assert.deepEqual(other, { kind: 'lost' });
    for (const record of [null, kv('v1/records/i-00000000', 'junk')]) {
      assert.deepEqual(decideDeparture(hold, '{}', { presence: null, record }), { kind: 'lost' });
    }
  });

  it('replaces its own record while neither key changes', () => {
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

  it('writes nothing when the departure is already there', () => {
    const record = recordBy('mine');
    const decision = decideDeparture(hold, record.value, { presence: null, record });
    assert.deepEqual(decision, { kind: 'written', revision: '5' });
  });
});
