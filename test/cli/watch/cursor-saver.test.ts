import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createCursorSaver } from '../../../src/cli/watch/cursor-saver.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

describe('cursor saver', () => {
  function saver() {
    const clock = simulatedClock();
    const written: (string | null)[] = [];
    const lines: string[] = [];
    let disk: Promise<void> = Promise.resolve();
    const cursor = createCursorSaver({
      write: async (revision) => {
        await disk;
        written.push(revision);
      },
      clock,
      warn: (line) => lines.push(line),
    });
    return {
      clock,
      written,
      lines,
      cursor,
      setDisk(next: Promise<void>) {
        disk = next;
        disk.catch(() => {});
      },
    };
  }

  test('a cursor with delivered events is saved at once, one without at most once a second', async () => {
    const { clock, written, cursor } = saver();
    cursor.advance('1', true);
    await clock.advance(1);
    assert.deepEqual(written, ['1']);
    cursor.advance('2', false);
    await clock.advance(500);
    cursor.advance('3', false);
    await clock.advance(498);
    assert.deepEqual(written, ['1']);
    await clock.advance(1);
    cursor.advance('4', false);
    await clock.advance(0);
    assert.deepEqual(written, ['1', '4']);
    cursor.advance('5', true);
    await clock.advance(0);
    assert.deepEqual(written, ['1', '4', '5']);
  });

  test('while a slow write is in progress only the newest cursor waits', async () => {
    const { clock, written, cursor, setDisk } = saver();
    const slow = Promise.withResolvers<void>();
    setDisk(slow.promise);
    for (const revision of ['1', '2', '3', '4']) cursor.advance(revision, true);
    await clock.advance(0);
    assert.deepEqual(written, []);
    slow.resolve();
    await clock.advance(0);
    assert.deepEqual(written, ['1', '4']);
  });

  test('a null cursor is written at once, and later cursors after it', async () => {
    const { clock, written, cursor } = saver();
    cursor.advance('1', true);
    await clock.advance(0);
    cursor.advance(null, false);
    await clock.advance(0);
    assert.deepEqual(written, ['1', null]);
    cursor.advance('2', false);
    await cursor.close();
    assert.deepEqual(written, ['1', null, '2']);
  });

  test('the same cursor is not written again', async () => {
    const { clock, written, cursor } = saver();
    cursor.advance('7', true);
    await clock.advance(5_000);
    cursor.advance('7', false);
    cursor.advance('7', true);
    await cursor.close();
    assert.deepEqual(written, ['7']);
  });

  test('close writes a cursor that is not written yet', async () => {
    const { clock, written, cursor } = saver();
    cursor.advance('1', true);
    await clock.advance(0);
    cursor.advance('2', false);
    await cursor.close();
    assert.deepEqual(written, ['1', '2']);
  });

  test('a disk that hangs delays close for at most two seconds', async () => {
    const { clock, cursor, lines, setDisk } = saver();
    setDisk(new Promise(() => {}));
    cursor.advance('1', true);
    let closed = false;
    const closing = cursor.close().then(() => {
      closed = true;
    });
    await clock.advance(1_999);
    assert.equal(closed, false);
    await clock.advance(1);
    await closing;
    assert.match(lines.join('\n'), /^warning: save the cursor: no answer within 2000 ms; a restart repeats events$/);
  });

  test('a failing disk gives one line, and one more when it works again', async () => {
    const { clock, written, lines, cursor, setDisk } = saver();
    setDisk(Promise.reject(new Error('ENOSPC: no space left on device')));
    cursor.advance('1', true);
    cursor.advance('2', true);
    await clock.advance(0);
    cursor.advance('3', true);
    await clock.advance(0);
    assert.deepEqual(lines, [
      'warning: cannot save the cursor: ENOSPC: no space left on device; a restart would repeat events',
    ]);
    setDisk(Promise.resolve());
    cursor.advance('4', true);
    await clock.advance(0);
    assert.equal(lines[1], 'note: the cursor can be saved again');
    assert.deepEqual(written, ['4']);
  });
});
