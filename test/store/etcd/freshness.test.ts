import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createWitness } from '../../../src/store/etcd/freshness.ts';
import { toBase64 } from '../../../src/store/etcd/messages.ts';

const answer = (value: string) => ({ kvs: [{ key: toBase64('/r/a'), value: toBase64(value), mod_revision: '4' }] });

test('after a refusal, keys read at the same revision take the place of what was remembered there', () => {
  const witness = createWitness('/r/');
  witness.sawEvents('4', [{ key: 'a', value: 'old', previous: null }]);
  witness.refute();
  // Another watch that goes on from there has to hear of it as well.
  assert.equal(witness.at('4')?.isTrue(answer('new')), false);

  witness.sawKeys('4', [{ key: 'a', value: 'new', modRevision: '4' }]);
  assert.equal(witness.at('4')?.isTrue(answer('new')), true);
  assert.equal(witness.at('4')?.isTrue(answer('old')), false);
});
