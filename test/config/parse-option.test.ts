import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  durationBetween,
  httpOrigin,
  integerBetween,
  labels,
  listenAddress,
  nonEmpty,
} from '../../src/config/flags.ts';

test('durations are read within their limits', () => {
  const parse = durationBetween(1_000, 3_600_000, 's');
  assert.equal(parse('30s'), 30_000);
  assert.equal(parse('1.5m'), 90_000);
  assert.throws(() => parse('30'), /such as 250ms, 30s/);
  assert.throws(() => parse('-1s'), /such as/);
  assert.throws(() => parse('500ms'), /from 1s to 1h/);
  assert.throws(() => parse('2h'), /from 1s to 1h/);
  assert.throws(() => parse('1500ms'), /whole seconds/);
});

test('integers are read within their limits', () => {
  assert.equal(integerBetween(1, 9)('9'), 9);
  for (const bad of ['0', '10', '1.5', 'x', '', '1e1']) assert.throws(() => integerBetween(1, 9)(bad), /from 1 to 9/);
});

test('an empty text is no value', () => {
  assert.equal(nonEmpty(' a'), ' a');
  assert.throws(() => nonEmpty(''), /empty: give it a value or leave it out/);
});

test('origins lose their slash; paths, queries and other schemes are refused', () => {
  assert.equal(httpOrigin('http://127.0.0.1:51678/'), 'http://127.0.0.1:51678');
  for (const bad of ['127.0.0.1:51678', 'ftp://h', 'http://h/path', 'http://h?x', 'http://u:p@h'])
    assert.throws(() => httpOrigin(bad));
});

test('listen addresses', () => {
  assert.deepEqual(listenAddress('127.0.0.1:51690'), { host: '127.0.0.1', port: 51_690 });
  assert.deepEqual(listenAddress('[::1]:0'), { host: '::1', port: 0 });
  assert.deepEqual(listenAddress(':80'), { host: '::', port: 80 });
  for (const bad of ['80', 'h:', 'h:65536', 'h:-1', '::1:80']) assert.throws(() => listenAddress(bad), /HOST:PORT/);
});

test('labels add up over flags and commas', () => {
  assert.deepEqual(labels('b=2,c=', labels('a=1')), { a: '1', b: '2', c: '' });
  for (const bad of ['a', '=1', 'a=1,', 'a=\u0007', `${'k'.repeat(64)}=1`])
    assert.throws(() => labels(bad), /KEY=VALUE/);
  assert.throws(() => labels('constructor=x'), /cannot be the key/);
  assert.throws(() => labels(Array.from({ length: 33 }, (_, n) => `k${n}=v`).join(',')), /At most 32/);
});
