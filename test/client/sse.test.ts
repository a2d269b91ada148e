import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createSseParser, type SseBlock, SseTooLargeError } from '../../src/client/sse.ts';

function parse(...chunks: readonly (string | Uint8Array)[]): SseBlock[] {
  const parser = createSseParser(1_000);
  return chunks.flatMap((chunk) => parser.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk));
}

const message = (data: string, id: string | null = null, type = 'message') => ({ type, data, id });

test('a block is a message with its type and its joined data lines, without one space after the colon', () => {
  assert.deepEqual(parse('event: a\ndata: 1\ndata:2\ndata:  3\ndata\nid: 7\n\ndata: next\n\n'), [
    message('1\n2\n 3\n', '7', 'a'),
    message('next'),
  ]);
});

test('lines end in LF, CR or CRLF, also if the chunks are cut between CR and LF', () => {
  assert.deepEqual(parse('data: a\r\n\r\ndata: b\r\rdata: c\n\n'), [message('a'), message('b'), message('c')]);
  assert.deepEqual(parse('data: a\r', '\ndata: b\r', '\n\r', '\ndata: c\r', '\r'), [message('a\nb'), message('c')]);
});

test('a byte order mark is removed only at the start', () => {
  const mark = Buffer.from([0xef, 0xbb, 0xbf]);
  assert.deepEqual(parse(mark.subarray(0, 2), mark.subarray(2), 'data: a\n\n'), [message('a')]);
  assert.deepEqual(parse('data: a\n\n', mark, 'data: b\n\n'), [message('a')]);
});

test('comments, unknown fields and empty blocks are ignored; a block with only an id gives the id', () => {
  assert.deepEqual(parse(': heartbeat\n\n:\n\nretry: 5\nfoo: bar\n\n\n\nevent: a\n\nid: 9\n\nid\n\n'), [
    { type: 'message', data: null, id: '9' },
    { type: 'message', data: null, id: '' },
  ]);
});

test('an id with a NUL is ignored', () => {
  assert.deepEqual(parse('id: 5\nid: 6\0\ndata: a\n\n'), [message('a', '5')]);
});

test('empty data is a message; an incomplete block at the end of the stream is dropped', () => {
  assert.deepEqual(parse('data\n\ndata: cut off\n'), [message('')]);
});

test('the size of a line, and of an event’s data, is limited', () => {
  const parser = createSseParser(100);
  assert.equal(parser.push(Buffer.from(`data: ${'x'.repeat(94)}\n\n`)).length, 1);
  assert.throws(() => createSseParser(100).push(Buffer.from('x'.repeat(101))), SseTooLargeError);
  const endless = createSseParser(100);
  assert.throws(() => {
    for (;;) endless.push(Buffer.from('data: 0123456789\n'));
  }, SseTooLargeError);
  const dripping = createSseParser(100);
  assert.throws(() => {
    for (;;) dripping.push(Buffer.from('x'));
  }, SseTooLargeError);
});

/** The standard's algorithm on the whole text. */
function reference(text: string): SseBlock[] {
  const blocks: SseBlock[] = [];
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/);
  let block: { type: string; data: string[]; id: string | null } = { type: '', data: [], id: null };
  for (const line of lines.slice(0, -1)) {
    const [, name, value = ''] = /^([^:]*)(?::[ ]?(.*))?$/s.exec(line) ?? [];
    if (line === '') {
      const data = block.data.length > 0 ? block.data.join('\n') : null;
      if (data !== null || block.id !== null) blocks.push({ type: block.type || 'message', data, id: block.id });
      block = { type: '', data: [], id: null };
    } else if (name === 'event') block.type = value;
    else if (name === 'data') block.data.push(value);
    else if (name === 'id' && !value.includes('\0')) block.id = value;
  }
  return blocks;
}

test('any cut into chunks gives the same blocks, as in the standard', () => {
  const word = fc.constantFrom('', 'a', ' b', 'é€😀', ':', '\0', '12');
  const field = fc.constantFrom('data', 'event', 'id', 'retry', '', 'x');
  const line = fc.oneof(
    fc.tuple(field, fc.constantFrom(': ', ':'), word).map((parts) => parts.join('')),
    field,
    fc.constant(''),
  );
  const ended = fc.tuple(line, fc.constantFrom('\n', '\r', '\r\n')).map((parts) => parts.join(''));
  const stream = fc
    .tuple(fc.constantFrom('', '\uFEFF'), fc.array(ended, { maxLength: 40 }), word)
    .map(([mark, lines, rest]) => mark + lines.join('') + rest);
  const cuts = fc.array(fc.nat(400), { maxLength: 20 });
  fc.assert(
    fc.property(stream, cuts, (text, at) => {
      const bytes = Buffer.from(text);
      const bounds = [0, ...at.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
      const chunks = bounds.slice(1).map((end, index) => bytes.subarray(bounds[index], end));
      assert.deepEqual(parse(...chunks), reference(text));
    }),
    { numRuns: 500 },
  );
});
