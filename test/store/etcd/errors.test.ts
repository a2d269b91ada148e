import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeadlineError } from '../../../src/lib/deadline.ts';
import { BodyTooLargeError } from '../../../src/lib/http-client.ts';
import { CompactedError, LeaseNotFoundError } from '../../../src/store/errors.ts';
import { GatewayRefusal, JunkAnswerError, judge, parseAnswer } from '../../../src/store/etcd/errors.ts';

describe('gateway refusal', () => {
  const refusal = (status: number, text: string) => {
    try {
      parseAnswer(status, text);
    } catch (error) {
      assert.ok(error instanceof GatewayRefusal, String(error));
      return { code: error.code, message: error.message };
    }
    return assert.fail('no refusal');
  };

  describe('an answer of the gateway', () => {
    it('is handed on as it is, without the wrapping of streams', () => {
      assert.deepEqual(parseAnswer(200, '{"succeeded":true}'), { succeeded: true });
      assert.deepEqual(parseAnswer(200, '{"result":{"TTL":"30"}}'), { TTL: '30' });
    });

    it('is a refusal in the shape of etcd 3.4', () => {
      const text =
        '{"error":"etcdserver: requested lease not found","message":"etcdserver: requested lease not found","code":5}';
      assert.deepEqual(refusal(404, text), { code: 5, message: 'etcdserver: requested lease not found' });
    });

    it('is a refusal in the shape of etcd 3.5 and 3.6', () => {
      const text = '{"code":5,"message":"etcdserver: requested lease not found","details":[]}';
      assert.deepEqual(refusal(404, text), { code: 5, message: 'etcdserver: requested lease not found' });
    });

    it('is a refusal inside of a stream, in both shapes, though the status is 200', () => {
      const old = '{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader","http_status":"…"}}';
      assert.deepEqual(refusal(200, old), { code: 14, message: 'etcdserver: no leader' });
      const recent = '{"error":{"code":14,"message":"etcdserver: no leader","details":[]}}';
      assert.deepEqual(refusal(200, recent), { code: 14, message: 'etcdserver: no leader' });
    });

    it('is a refusal of something in between when an error status comes with a page', () => {
      const { code, message } = refusal(502, '<html>\n<h1>502 Bad Gateway</h1>\n</html>');
      assert.equal(code, 14);
      assert.equal(message, 'HTTP status 502, the answer is not JSON: <html> <h1>502 Bad Gateway</h1> </html>');
    });

    it('is junk when it is a page, nothing, no object, or cut short', () => {
      for (const text of ['<html>login</html>', '', '[]', 'null', '{"header":{"revision":"1']) {
        assert.throws(() => parseAnswer(200, text), JunkAnswerError, text);
      }
    });
  });
});

describe('verdict', () => {
  const context = { user: 'x', root: '/rollcall/', tls: null };
  const url = 'http://127.0.0.1:2379';
  const verdictOf = (code: number, message: string) => judge(new GatewayRefusal(code, message), url, context);

  describe('what a failed attempt means', () => {
    it('is told by kind where the caller acts on it', () => {
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
        [
          3,
          'etcdserver: authentication failed, invalid user ID or password',
          /failed for user "x": check the user and/,
        ],
        [7, 'etcdserver: permission denied', /permission denied for user "x" on keys below \/rollcall\/: grant it/],
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

    it('asks for credentials where none were given', () => {
      const verdict = judge(new GatewayRefusal(3, 'etcdserver: user name is empty'), url, { ...context, user: null });
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
      assert.equal(judge(new DeadlineError('x', 800), url, context).unsent, false);
      assert.equal(judge(Object.assign(new Error('x'), { code: 'ECONNRESET' }), url, context).unsent, false);
      assert.equal(judge(Object.assign(new Error('x'), { code: 'ECONNREFUSED' }), url, context).unsent, true);
      assert.equal(verdictOf(14, 'etcdserver: no leader').unsent, true);
    });

    it('is the same everywhere when an answer is too large', () => {
      assert.equal(judge(new BodyTooLargeError(9), url, context).elsewhere, false);
    });

    it('finds the reason when every address of a name was refused', () => {
      const refused = Object.assign(new Error('connect ECONNREFUSED ::1:2379'), { code: 'ECONNREFUSED' });
      const verdict = judge(new AggregateError([refused], ''), url, context);
      assert.equal(verdict.error.message, `etcd at ${url}: connection refused`);
    });
  });
});
