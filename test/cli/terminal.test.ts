import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTerminal } from '../../src/cli/terminal.ts';

function screen(env: Record<string, string>, hasColors: boolean) {
  let written = '';
  const stream = {
    columns: 100,
    rows: 40,
    hasColors: () => hasColors,
    write(text: string, done: () => void) {
      written += text;
      done();
      return true;
    },
  };
  return { terminal: openTerminal(stream, env), written: () => written };
}

const PIECES = [{ text: 'lost', colour: 'red' as const }, { text: ' i-1\u001b[2J\n' }];

test('pieces have their colour where there are colours and NO_COLOR is not set; their text is escaped', async () => {
  for (const [env, hasColors, expected] of [
    [{}, true, '\u001b[31mlost\u001b[0m i-1\\u001b[2J\n'],
    [{ NO_COLOR: '' }, true, '\u001b[31mlost\u001b[0m i-1\\u001b[2J\n'],
    [{ NO_COLOR: '1' }, true, 'lost i-1\\u001b[2J\n'],
    [{}, false, 'lost i-1\\u001b[2J\n'],
  ] as const) {
    const { terminal, written } = screen(env, hasColors);
    await terminal.write(PIECES);
    assert.equal(written(), expected);
  }
});

test('a picture begins at the top of a cleared screen, and cannot do more to it', async () => {
  const { terminal, written } = screen({ NO_COLOR: '1' }, true);
  await terminal.redraw('a\u001b[31m\n');
  assert.equal(written(), '\u001b[H\u001b[2Ja\\u001b[31m\n');
  assert.deepEqual([terminal.columns(), terminal.rows()], [100, 40]);
});

test('a size that is not known or 0 is that of a common terminal, now and later', () => {
  const stream = { columns: 0, rows: 0, write: () => true };
  const terminal = openTerminal(stream, {});
  assert.deepEqual([terminal.columns(), terminal.rows()], [80, 24]);
  Object.assign(stream, { columns: 120, rows: 50 });
  assert.deepEqual([terminal.columns(), terminal.rows()], [120, 50]);
  const unknown = openTerminal({ write: () => true }, {});
  assert.deepEqual([unknown.columns(), unknown.rows()], [80, 24]);
});
