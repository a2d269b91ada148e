import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unitDefect } from '../../scripts/lib/unit-defect.ts';

const unit = (fleetPart: string) => `[Service]\nExecStart=/bin/true\n${fleetPart}\n`;

test('a global unit has no defect', () => {
  assert.equal(unitDefect(unit('[X-Fleet]\nGlobal=true')), null);
  assert.equal(unitDefect(unit('[X-Fleet]\n# everywhere\n  Global = true')), null);
});

for (const part of [
  '',
  '[X-Fleet]',
  '[X-Fleet]\nGlobal=false',
  '[X-Fleet]\nGlobal=True',
  '[X-Fleet]\nGlobal=true # everywhere',
  '[X-Fleet]\nglobal=true',
  '[X-FLEET]\nGlobal=true',
  '[X-Fleet]\n# a path \\\nGlobal=true',
]) {
  test(`a unit that fleet would run on one machine only is refused: ${JSON.stringify(part)}`, () => {
    assert.match(unitDefect(unit(part)) ?? '', /no global unit.*Global=true/);
  });
}

test('a line that fleet would misread is refused', () => {
  assert.match(unitDefect(unit('[X-Fleet]\nGlobal=true').replaceAll('\n', '\r\n')) ?? '', /Windows line ends/);
  assert.match(unitDefect(unit('[X-Fleet]\nGlobal=true\nGlobal=false')) ?? '', /Global= twice/);
  const global = unit('[X-Fleet]\nGlobal=true');
  const start = (command: string) => unitDefect(global.replace('/bin/true', command)) ?? '';
  assert.match(start('/bin/echo \\ \n  one'), /line 2 has a space behind its backslash/);
  assert.match(start('/bin/echo \\\n# why\n  one'), /line 3 is a comment inside a continued line/);
  assert.match(start(`/bin/echo ${'x'.repeat(2_040)}`), /line 2 is over 2048 bytes/);
  assert.equal(start('/bin/echo \\\n  one'), '');
  const only = (what: string) => unitDefect(`${global}${what}\n`) ?? '';
  assert.match(only('MachineMetadata=role=node'), /would run it on every machine: write "NAME=VALUE"/);
  assert.match(only('MachineOf=other.service'), /not for a global unit/);
  assert.equal(only('MachineMetadata="role=node" "rack=3"'), '');
  assert.match(unitDefect('') ?? '', /no settings/);
});
