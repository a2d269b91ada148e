import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRollTag, entityTag, tagMatches } from '../../src/http/entity-tag.ts';
import type { RollEntry } from '../../src/record/roll.ts';
import { sampleRecord } from '../support/sample-record.ts';

test('a tag is weak, and follows from the content alone', () => {
  assert.match(entityTag({ a: 1 }), /^W\/"[\w-]{22}"$/);
  assert.equal(entityTag({ a: 1 }), entityTag({ a: 1 }));
  assert.notEqual(entityTag({ a: 1 }), entityTag({ a: 2 }));
});

test('a tag of the roll changes with its entries, with what else is said, and with the process', () => {
  const entries: readonly RollEntry[] = [{ record: sampleRecord(), presence: null }];
  const tag = createRollTag(() => 'one');
  const first = tag(entries, { revision: '5' });
  assert.equal(tag(entries, { revision: '5' }), first);
  assert.notEqual(tag(entries, { revision: '6' }), first);
  // The same nodes of a later view: whether they are the same is not looked at.
  const later = tag([...entries], { revision: '5' });
  assert.notEqual(later, first);
  assert.equal(tag(entries, { revision: '5' }), first);
  assert.notEqual(createRollTag(() => 'two')(entries, { revision: '5' }), first);
});

test('If-None-Match has one tag, several, weak or strong, or a star', () => {
  const tag = 'W/"a-b_1"';
  for (const header of ['W/"a-b_1"', '"a-b_1"', '"x", W/"a-b_1"', '"x",W/"a-b_1" ,"y"', '*', ' * ']) {
    assert.equal(tagMatches(header, tag), true, header);
  }
  for (const header of [undefined, '', '"a-b"', 'a-b_1', '"a-b_1', 'W/"A-b_1"', '"x", "y"', '"*"']) {
    assert.equal(tagMatches(header, tag), false, String(header));
  }
});
