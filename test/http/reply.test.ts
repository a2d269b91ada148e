import assert from 'node:assert/strict';
import { test } from 'node:test';
import { jsonReply, problem } from '../../src/http/reply.ts';

test('no answer controls the terminal of one who asks by hand, and each means what it says', () => {
  const reason = 'kernel\u009b2J\u202e \u{e0041} ’漢 \u001b]0;x';
  for (const { body } of [jsonReply({ reason }), problem(503, 'not now', { extension: { reason } })]) {
    assert.equal(typeof body, 'string');
    assert.doesNotMatch(String(body).slice(0, -1), /[\p{Cc}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}]/u);
    assert.equal(JSON.parse(String(body)).reason, reason);
    assert.match(String(body), /’漢.*\n$/);
  }
});
