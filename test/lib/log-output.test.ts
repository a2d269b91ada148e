import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openLogOutput } from '../../src/lib/log-output.ts';

/** A real pipe that does not block its writer, and the output to it. */
function openPipe(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'log-output-'));
  const path = join(dir, 'pipe');
  execFileSync('mkfifo', [path]);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  t.after(() => {
    closeSync(fd);
    rmSync(dir, { recursive: true });
  });
  const tries: (() => void)[] = [];
  const dropped: number[] = [];
  const output = openLogOutput(fd, {
    later: (tryAgain) => tries.push(tryAgain),
    onDropped: (lines) => {
      dropped.push(lines);
      output.write('told\n');
    },
  });
  const room = Buffer.alloc(1024 * 1024);
  const read = () => {
    try {
      return room.toString('utf8', 0, readSync(fd, room));
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN');
      return '';
    }
  };
  /** Reads until nothing waits any more. */
  const readAll = () => {
    let text = read();
    for (let next = tries.shift(); next; next = tries.shift()) {
      next();
      text += read();
    }
    return text;
  };
  return { output, tries, dropped, read, readAll };
}

const line = (n: number) => `${String(n).padStart(6, '0')} ${'Gänse'.repeat(20)}\n`;

test('what a reader takes is written at once', (t) => {
  const { output, tries, read } = openPipe(t);
  output.write(line(1));
  output.write(line(2));
  assert.deepEqual([read(), tries], [line(1) + line(2), []]);
});

test('a reader that is stuck stops nothing: lines wait for it whole and in order, one try at a time', (t) => {
  const { output, tries, dropped, readAll } = openPipe(t);
  const lines = Array.from({ length: 1_500 }, (_, n) => line(n));
  for (const each of lines) output.write(each);
  assert.equal(tries.length, 1);
  assert.equal(readAll(), lines.join(''));
  assert.deepEqual(dropped, []);
  output.write(line(1));
  assert.equal(readAll(), line(1));
});

test('lines beyond the bound are dropped whole, counted, and told once the reader is back', (t) => {
  const { output, dropped, readAll } = openPipe(t);
  const count = 20_000;
  for (let n = 0; n < count; n += 1) output.write(line(n));
  assert.deepEqual(dropped, []);
  const text = readAll();
  const written = text.split('\n').length - 2;
  assert.ok(text.length < 512 * 1024);
  assert.equal(text, `${Array.from({ length: written }, (_, n) => line(n)).join('')}told\n`);
  assert.deepEqual(dropped, [count - written]);
});

test('the end waits for a reader, but not for one that stays stuck', (t) => {
  const { output, read, tries } = openPipe(t);
  const lines = Array.from({ length: 1_000 }, (_, n) => line(n));
  for (const each of lines) output.write(each);
  output.flush(20);
  const first = read();
  output.flush(20);
  assert.equal(first + read(), lines.join(''));
  // The try that was due finds nothing.
  tries.shift()?.();
  assert.deepEqual([read(), tries], ['', []]);
});

test('what nothing reads any more is dropped', () => {
  let calls = 0;
  const write = () => {
    calls += 1;
    throw Object.assign(new Error('closed'), { code: 'EPIPE' });
  };
  const output = openLogOutput(2, {
    write,
    later: () => assert.fail('it waits'),
    onDropped: () => assert.fail('told'),
  });
  output.write('line\n');
  output.write('line\n');
  assert.equal(calls, 2);
});
