import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { GatewayRefusal, JunkAnswerError, parseAnswer } from '../../../src/store/etcd/errors.ts';

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
