import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { isOnJournal } from '../../src/cli/agent-log.ts';

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
