import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../src/lib/errors.ts';
import { parseStoreUrl, type StoreSettings } from '../../src/store/store-url.ts';

const none: StoreSettings = { caFile: null, certFile: null, keyFile: null, user: null, password: null };

test('etcd URLs: several hosts, default port and prefix, IPv6', () => {
  assert.deepEqual(parseStoreUrl('etcd://a,b:2380,[::1]:2381', none), {
    kind: 'etcd',
    label: 'etcd://a:2379,b:2380,[::1]:2381/rollcall',
    endpoints: ['http://a:2379', 'http://b:2380', 'http://[::1]:2381'],
    prefix: '/rollcall',
    tls: null,
    credentials: null,
  });
  const secure = parseStoreUrl('etcds://a/x/y/', { ...none, caFile: '/ca.pem' });
  assert.ok(secure.kind === 'etcd');
  assert.deepEqual([secure.prefix, secure.endpoints, secure.tls?.caFile], ['/x/y', ['https://a:2379'], '/ca.pem']);
});

test('sqlite and memory URLs', () => {
  assert.deepEqual(parseStoreUrl('sqlite:/var/lib/r.db', none), {
    kind: 'sqlite',
    label: 'sqlite:/var/lib/r.db',
    path: '/var/lib/r.db',
  });
  assert.deepEqual(parseStoreUrl('memory:x', none), { kind: 'memory', label: 'memory:x', name: 'x' });
});

test('user and password come from the URL or the settings, and the label never shows them', () => {
  const fromUrl = parseStoreUrl('etcd://al%40ice:p%3Aw:d@h', none);
  assert.ok(fromUrl.kind === 'etcd');
  assert.deepEqual(fromUrl.credentials, { user: 'al@ice', password: 'p:w:d' });
  assert.equal(fromUrl.label, 'etcd://h:2379/rollcall');
  const fromSettings = parseStoreUrl('etcd://h', { ...none, user: 'u', password: 's' });
  assert.ok(fromSettings.kind === 'etcd');
  assert.deepEqual(fromSettings.credentials, { user: 'u', password: 's' });
});

for (const [url, settings, pattern] of [
  ['', none, /has no scheme/],
  ['localhost:2379', none, /unknown scheme "localhost"/],
  ['http://h:2379', none, /unknown scheme "http"/],
  ['etcd:h', none, /expected hosts after \/\//],
  ['etcd://', none, /expected hosts after \/\//],
  ['etcd://h:0', none, /port from 1 to 65535/],
  ['etcd://h:99999', none, /port from 1 to 65535/],
  ['etcd://h,', none, /"" is not HOST or HOST:PORT/],
  ['etcd://h/a b', none, /prefix/],
  ['etcd://h?x=1', none, /"h\?x=1" is not HOST/],
  ['sqlite:', none, /takes a path/],
  ['sqlite://h/p', none, /takes a path/],
  ['etcd://u@h', none, /user "u" was given without a password/],
  ['etcd://h', { ...none, password: 'x' }, /without a user/],
  ['etcd://h', { ...none, caFile: '/ca' }, /use etcds/],
  ['etcds://h', { ...none, certFile: '/c' }, /must be given together/],
  ['sqlite:/x', { ...none, user: 'u' }, /is not etcd/],
] as const) {
  test(`refuses ${url || 'an empty URL'} with ${pattern.source}`, () => {
    assert.throws(
      () => parseStoreUrl(url, settings),
      (error) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, pattern);
        assert.ok(!error.message.includes('\n'));
        return true;
      },
    );
  });
}

test('no error shows a password, whatever characters it has', () => {
  for (const url of ['etcd://u:sec/ret@h:0', 'etcd://u:sec@ret@h:0', 'etcd://u:sec%ret@h', 'sqlite://u:secret@h']) {
    assert.throws(
      () => parseStoreUrl(url, none),
      (error: Error) => !/sec|ret/.test(error.message.replace('secure', '')),
    );
  }
});
