import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitUnquoted } from '../../src/config/flags.ts';

test('a separator within quotes or after a backslash does not separate', () => {
  assert.deepEqual(splitUnquoted('a;b', ';'), ['a', 'b']);
  assert.deepEqual(splitUnquoted(`x='a;b';y="c\\";d";z=e\\;f`, ';'), [`x='a;b'`, `y="c\\";d"`, 'z=e\\;f']);
  assert.deepEqual(splitUnquoted(`a';b`, ';'), [`a';b`]);
  assert.deepEqual(splitUnquoted('', ';'), ['']);
  assert.deepEqual(splitUnquoted(';', ';'), ['', '']);
});
