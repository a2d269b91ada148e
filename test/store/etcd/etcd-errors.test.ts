import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeadlineError } from '../../../src/lib/deadline.ts';
import { describeError } from '../../../src/lib/errors.ts';
import { RpcError } from '../../../src/store/etcd/channel.ts';
import { HandshakeCutError } from '../../../src/store/etcd/dial.ts';
import { isAnswerTooLarge, judge } from '../../../src/store/etcd/etcd-errors.ts';
import { CompactedError, LeaseNotFoundError } from '../../../src/store/store-errors.ts';

const context = { user: 'x', root: '/rollcall/', tls: null };
const url = 'http://127.0.0.1:2379';
const verdictOf = (code: number, message: string) => judge(new RpcError(code, message, true, undefined), url, context);
const unconnected = (message: string, cause?: unknown) => judge(new RpcError(14, message, false, cause), url, context);

describe('what a failed attempt means', () => {
  it('has a kind where the caller acts on it', () => {
    const compacted = verdictOf(11, 'etcdserver: mvcc: required revision has been compacted');
    assert.ok(compacted.error instanceof CompactedError);
    const restored = verdictOf(11, 'etcdserver: mvcc: required revision is a future revision');
    assert.ok(restored.error instanceof CompactedError);
    assert.match(restored.error.message, /the store's revision went back/);
    const lease = verdictOf(5, 'etcdserver: requested lease not found');
    assert.ok(lease.error instanceof LeaseNotFoundError);
    assert.equal(lease.elsewhere, false);
  });

  it('says what to do where a person has to act, and does not hope for another endpoint', () => {
    const cases: [number, string, RegExp][] = [
      [3, 'etcdserver: authentication failed, invalid user ID or password', /failed for user "x": check the user and/],
      [
        7,
        'etcdserver: permission denied',
        /permission denied for user "x": it has no right to use keys below \/rollcall\/; .*docs\/stores\.md/,
      ],
      [8, 'etcdserver: mvcc: database space exceeded', /its database is full: .*etcdctl alarm disarm/],
    ];
    for (const [code, message, expected] of cases) {
      const { error, elsewhere } = verdictOf(code, message);
      assert.match(error.message, expected);
      assert.match(error.message, /^etcd at http:\/\/127\.0\.0\.1:2379: [^\n]*[^.\n]$/);
      assert.equal(error.retryable, false, message);
      assert.equal(elsewhere, false, message);
    }
  });

  it('says once that the handshake was cut, and the next step last', () => {
    const cut = new HandshakeCutError('connection closed in the TLS handshake');
    const { error } = unconnected('HandshakeCutError: connection closed in the TLS handshake', cut);
    assert.match(
      describeError(error),
      /2379: connection closed in the TLS handshake: if etcd speaks no TLS, use an etcd:\/\/ store URL$/,
    );
  });

  it('asks for credentials where none were given', () => {
    const refusal = new RpcError(3, 'etcdserver: user name is empty', true, undefined);
    const verdict = judge(refusal, url, { ...context, user: null });
    assert.match(verdict.error.message, /demands a user and password: give them with --etcd-user/);
    assert.equal(verdict.error.retryable, false);
  });

  it('is worth another endpoint when this one cannot serve now', () => {
    for (const message of ['etcdserver: no leader', 'etcdserver: leader changed', 'etcdserver: request timed out']) {
      const verdict = verdictOf(14, message);
      assert.equal(verdict.elsewhere, true, message);
      assert.equal(verdict.error.retryable, true, message);
    }
  });

  it('leaves open whether a write was carried out that timed out, lost its connection or met a new leader', () => {
    assert.equal(verdictOf(14, 'etcdserver: leader changed').unsent, false);
    assert.equal(verdictOf(14, 'etcdserver: request timed out').unsent, false);
    assert.equal(verdictOf(14, 'Connection dropped').unsent, false);
    assert.equal(judge(new DeadlineError('x', 800), url, context).unsent, false);
    assert.equal(unconnected('connect ECONNREFUSED 127.0.0.1:2379').unsent, true);
    assert.equal(verdictOf(14, 'etcdserver: no leader').unsent, true);
  });

  it('is the same everywhere when an answer is too large', () => {
    const tooLarge = new RpcError(8, 'Received message larger than max (9 vs 8)', true, undefined);
    assert.equal(judge(tooLarge, url, context).elsewhere, false);
    assert.equal(isAnswerTooLarge(tooLarge), true);
    assert.equal(
      isAnswerTooLarge(new RpcError(8, 'etcdserver: mvcc: database space exceeded', true, undefined)),
      false,
    );
  });

  it('is unexplained where what answers may be no etcd, or none of ours', () => {
    assert.equal(unconnected('Protocol error').unexplained, true);
    assert.equal(verdictOf(12, 'unknown service etcdserverpb.KV').unexplained, true);
    assert.equal(verdictOf(16, 'Received HTTP status code 401').unexplained, true);
    assert.ok(!unconnected('connect ECONNREFUSED 127.0.0.1:2379').unexplained);
    assert.ok(!verdictOf(14, 'etcdserver: no leader').unexplained);
  });

  it('ends with the next step where nothing answers, not with the system’s text', () => {
    const { message, cause } = unconnected('connect ECONNREFUSED 127.0.0.1:2379').error;
    assert.equal(
      message,
      `etcd at ${url}: connection refused: check that etcd runs there, and the port of the store URL`,
    );
    assert.equal(cause, null);
  });

  it('is one line, whatever the text of the refusal', () => {
    assert.equal(verdictOf(2, 'a\n\u001b[31mb').error.message, `etcd at ${url}: a ?[31mb`);
  });
});
