import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostAllowed } from '../../src/http/server.ts';

const LOCAL = ['localhost', 'LOCALHOST:51690', '127.0.0.1', '127.0.0.1:51690', '127.1.2.3:1', '[::1]', '[::1]:51690'];
const FOREIGN = [
  'evil.example',
  'evil.example:51690',
  'localhost.evil.example',
  '127.0.0.1.evil.example',
  '10.0.0.1:51690',
  '127.0.0.1:51690:1',
  '127.0.0.1@evil.example',
  '[::1].evil.example',
  '[::2]',
  '',
];

test('a server on loopback answers loopback hosts, with any port', () => {
  for (const listen of ['127.0.0.1', '127.0.0.9', '::1', 'localhost']) {
    for (const host of LOCAL) assert.equal(hostAllowed(listen, host), true, `${host} on ${listen}`);
  }
});

test('a server on loopback answers no other host', () => {
  for (const listen of ['127.0.0.1', '::1', 'localhost']) {
    for (const host of FOREIGN) assert.equal(hostAllowed(listen, host), false, `${host} on ${listen}`);
  }
});

test('a server on any other address answers every host', () => {
  for (const host of [...LOCAL, ...FOREIGN]) assert.equal(hostAllowed('0.0.0.0', host), true, host);
});

test('a request without a host comes from no browser and is answered', () => {
  assert.equal(hostAllowed('127.0.0.1', undefined), true);
});
