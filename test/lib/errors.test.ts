import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeError, quote } from '../../src/lib/errors.ts';

test('an error is one line with its causes, each once, without control characters', () => {
  const cause = new Error('connect ECONNREFUSED\n\u001b[31m127.0.0.1:1');
  assert.equal(describeError(new Error('etcd', { cause })), 'etcd: connect ECONNREFUSED ?[31m127.0.0.1:1');
  assert.equal(describeError(new Error('no answer: down', { cause: new Error('down') })), 'no answer: down');
});

test('the advice of Node on an untrusted certificate, a flag of its own, is left out', () => {
  const text = 'unable to verify the first certificate';
  const advice = 'if the root CA is installed locally, try running Node.js with --use-system-ca';
  const error = new Error('list', { cause: new Error(`${text}; ${advice}`) });
  assert.equal(describeError(error), `list: ${text}`);
});

test('any thrown value has a description', () => {
  assert.equal(describeError(new AggregateError([new Error(''), new Error('refused')], '')), 'refused');
  for (const odd of [undefined, null, '', new Error('')]) assert.equal(describeError(odd), 'unknown error');
  const loop = new Error('a');
  loop.cause = loop;
  assert.equal(describeError(loop), 'a');
});

test('a value is quoted on one printable line, cut to 60 characters', () => {
  assert.equal(quote('two\n lines\u001b[31m\u202e'), '"two lines?[31m?"');
  assert.equal(quote('x'.repeat(61)), `"${'x'.repeat(60)}…"`);
  assert.deepEqual(
    [quote({ a: 1 }), quote(2), quote(null), quote(undefined)],
    ['"{"a":1}"', '"2"', '"null"', 'missing'],
  );
});

test('a failure of TLS is its reason, without an address of this process and the line of OpenSSL’s source', () => {
  const routine = 'error:0A000410:SSL routines:ssl3_read_bytes';
  const source = '../deps/openssl/openssl/ssl/record/rec_layer_s3.c:916';
  const alert = `400D667A7F7F0000:${routine}:ssl/tls alert handshake failure:${source}:SSL alert number 40\n`;
  assert.equal(describeError(new Error(alert)), 'TLS failed: ssl/tls alert handshake failure');
  const text = `write EPROTO 40ED46FACD7F0000:${routine}:wrong version number:${source}:\n`;
  assert.equal(describeError(new Error(`POST: ${text}`)), 'POST: TLS failed: wrong version number');
});
