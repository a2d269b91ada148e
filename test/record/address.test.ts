import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { isAddress } from '../../src/record/address.ts';

const TEXTS = [
  ...[
    '10.0.0.9',
    '0.0.0.0',
    '255.255.255.255',
    '256.1.1.1',
    '01.2.3.4',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.4 ',
    '1.2.3.',
    '',
  ],
  ...['::', '::1', '1::', '2600:1f18::5', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '1:2:3:4:5:6:7::'],
  ...['::2:3:4:5:6:7:8', '1::2:3:4:5:6:7:8', '1::2::3', ':::', ':', ':1', '1:', '1:::2', '12345::', 'G::', 'ABCD:ef::'],
  ...['::ffff:1.2.3.4', '1.2.3.4::', '1.2.3.4:1::', '::1.2.3.4:5', '1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:7:1.2.3.4'],
  ...['::256.1.1.1', '::1.2.3', '[::1]', '::1/64', '::1\n', '-oProxyCommand=x', '10.9.9.9  i-8a8d', '１.2.3.4'],
];

test('an address is what Node takes for one', () => {
  for (const text of TEXTS) assert.equal(isAddress(text), isIP(text) !== 0, JSON.stringify(text));
  const piece = fc.constantFrom('::', ':', '0', 'f', 'aB09', '12345', '1.2.3.4', '.', '256', '%', ' ');
  const anyText = fc.oneof(
    fc.array(piece, { maxLength: 18 }).map((pieces) => pieces.join('')),
    fc.ipV6(),
    fc.ipV4(),
    fc.string(),
  );
  fc.assert(
    fc.property(anyText, (text) => isAddress(text) === (isIP(text) !== 0 && !text.includes('%'))),
    { numRuns: 2_000 },
  );
});

test('no zone id, which may hold any text', () => {
  assert.equal(isAddress('fe80::1%eth0'), false);
  assert.equal(isAddress('fe80::1%$(id)'), false);
});
