import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listenError } from '../../src/http/server.ts';

test('each cause gives one line with the address and the next step', () => {
  for (const code of ['EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN', 'ESOMETHING']) {
    const { message, cause } = listenError('127.0.0.1:80', Object.assign(new Error(`bind ${code}`), { code }));
    assert.match(message, /^listen on 127\.0\.0\.1:80: [^\n]+; [^\n]*choose another with --listen HOST:PORT$/);
    assert.equal(cause, undefined);
  }
});

test('an unknown cause is told in the words of the system', () => {
  const { message } = listenError('[::1]:1', new Error('something\nodd'));
  assert.equal(message, 'listen on [::1]:1: something odd; choose another with --listen HOST:PORT');
});
