import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { pino } from 'pino';
import { isOnJournal, withPriorities } from '../../src/cli/agent-log.ts';

test('each line has the priority of its level', () => {
  const lines: string[] = [];
  const log = pino(
    { level: 'debug', base: null, timestamp: false },
    withPriorities((line) => lines.push(line)),
  );
  log.warn('w');
  log.info('i');
  log.child({ of: 'child' }).error('e');
  log.debug('d');
  log.fatal('f');
  assert.deepEqual(
    lines.map((line) => [line.slice(0, 3), JSON.parse(line.slice(3)).msg]),
    [
      ['<4>', 'w'],
      ['<6>', 'i'],
      ['<3>', 'e'],
      ['<7>', 'd'],
      ['<2>', 'f'],
    ],
  );
});

test('stderr is the journal where its device and inode are those that systemd names', (t) => {
  const fd = openSync('/dev/null', 'r');
  t.after(() => closeSync(fd));
  const { dev, ino } = fstatSync(fd, { bigint: true });
  assert.equal(isOnJournal('auto', `${dev}:${ino}`, fd), true);
  // A child inherits the variable also where its stderr goes elsewhere.
  assert.equal(isOnJournal('auto', `${dev}:${ino + 1n}`, fd), false);
  assert.equal(isOnJournal('auto', undefined, fd), false);
  assert.equal(isOnJournal('auto', `${dev}:${ino}`, 1_000_000), false);
  assert.equal(isOnJournal('on', undefined, fd), true);
  assert.equal(isOnJournal('off', `${dev}:${ino}`, fd), false);
});
