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
  test(`fleet would silently run it on one machine: ${JSON.stringify(part)}`, () => {
    assert.match(unitDefect(unit(part)) ?? '', /no global unit.*Global=true/);
  });
}

test('what fleet would read in another way than it was meant is refused', () => {
  assert.match(unitDefect(unit('[X-Fleet]\nGlobal=true').replaceAll('\n', '\r\n')) ?? '', /Windows line ends/);
  assert.match(unitDefect(unit('[X-Fleet]\nGlobal=true\nGlobal=false')) ?? '', /Global= twice/);
  assert.match(unitDefect('') ?? '', /no settings/);
});
