import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalUnit } from '../../scripts/lib/canonical-unit.ts';
import { parseUnit, serializeUnit } from '../support/fleetctl-units.ts';

const FILE = `# what it is
[Unit]
  Description = a unit
After=docker.service

[Service]
ExecStart=/usr/bin/docker run \\
    --name "two  blanks" \\
\timage
; a comment
Environment=A=b=c
ExecStop=
[X-Fleet]
Global=true
[Unit]
Wants=other.service`;

const OTHERS = {
  'another value': FILE.replace('image', 'image2'),
  'a blank within quotes': FILE.replace('two  blanks', 'two blanks'),
  'a setting less': FILE.replace('Wants=other.service', ''),
  'another order': FILE.replace('Environment=A=b=c\nExecStop=', 'ExecStop=\nEnvironment=A=b=c'),
  'another section': FILE.replace('[X-Fleet]', '[Service]'),
};

for (const [version, old] of [
  ['0.11', true],
  ['1.0', false],
] as const) {
  const registered = serializeUnit(parseUnit(FILE, old), !old);

  test(`a file equals the text that fleet ${version} makes of it`, () => {
    assert.notEqual(registered, FILE);
    assert.deepEqual(canonicalUnit(registered), canonicalUnit(FILE));
  });

  for (const [name, other] of Object.entries(OTHERS)) {
    test(`${name} is a difference from the text in fleet ${version}`, () => {
      assert.notEqual(other, FILE);
      assert.notDeepEqual(canonicalUnit(registered), canonicalUnit(other));
    });
  }
}

test('a comment that ends in a backslash includes the next line, as in fleet', () => {
  const text = '[Service]\n# path C:\\\nExecStart=/bin/true\nExecStop=/bin/false\n';
  assert.deepEqual(canonicalUnit(text), ['Service\tExecStop=/bin/false']);
});

test('a unit without settings is empty', () => {
  assert.deepEqual(canonicalUnit(''), []);
  assert.deepEqual(canonicalUnit('# nothing\n[Unit]\n'), []);
});
