import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodePresence } from '../../src/record/codec.ts';
import type { KeyValue } from '../../src/store/kv.ts';
import { decideRegistration } from '../../src/store/registration.ts';

const registration = { instanceId: 'i-00000000', session: 'mine', since: 'x', ttlMs: 30_000, retentionMs: 60_000 };
const at = (second: number) => `2026-01-01T00:00:0${second}Z`;
const kv = (key: string, value: string): KeyValue => ({ key, value, lease: '9', modRevision: '5' });
const presenceOf = (session: string, since = 'x') =>
  kv('v1/presence/i-00000000', encodePresence({ session, since, ttlSeconds: 30 }));
const junk = kv('v1/presence/i-00000000', 'junk');

describe('deciding about a registration', () => {
  const guard = (modRevision: string) => ({
    kind: 'write',
    guards: [{ key: 'v1/presence/i-00000000', modRevision }],
  });

  it('registers when there is no presence, its own, or an unreadable one', () => {
    assert.deepEqual(decideRegistration(registration, false, null), guard('0'));
    assert.deepEqual(decideRegistration(registration, false, presenceOf('mine')), guard('5'));
    assert.deepEqual(decideRegistration(registration, false, junk), guard('5'));
  });

  it('replaces another session only with takeover, where neither certainly started later', () => {
    assert.deepEqual(decideRegistration(registration, true, presenceOf('other')), guard('5'));
    assert.deepEqual(decideRegistration(registration, false, presenceOf('other')), { kind: 'superseded', by: 'other' });
  });

  it('is superseded by a session that certainly started later, and registers when that is uncertain', () => {
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
      assert.equal(decide(ours, theirs), 'write', `${ours} against ${theirs}`);
    }
    assert.equal(
      decideRegistration({ ...registration, since: at(1) }, true, presenceOf('mine', at(2))).kind,
      'write',
      'its own',
    );
  });

  it('replaces one that certainly started earlier, without takeover too: a restored backup has it', () => {
    const decide = (ours: string, theirs: string) =>
      decideRegistration({ ...registration, since: ours }, false, presenceOf('other', theirs));
    assert.deepEqual(decide(at(2), at(1)), guard('5'));
    for (const [ours, theirs] of [
      [at(1), at(2)],
      [at(2), at(2)],
      ['x', at(1)],
      [at(2), 'x'],
    ] as const) {
      assert.deepEqual(decide(ours, theirs), { kind: 'superseded', by: 'other' }, `${ours} against ${theirs}`);
    }
  });
});
