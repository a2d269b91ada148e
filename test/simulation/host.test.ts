import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHost } from './host.ts';
import { createScheduler } from './scheduler.ts';

test('what reached a host while it was frozen comes before what reaches it later', async () => {
  const scheduler = createScheduler();
  const host = createHost('host', scheduler);
  const process = host.start();
  const came: string[] = [];
  const deliver = (what: string) => process.deliver(() => came.push(what));
  host.freeze();
  deliver('first');
  deliver('second');
  host.thaw();
  deliver('third');
  host.freeze();
  deliver('fourth');
  host.thaw();

  await scheduler.run(1, () => {});

  assert.deepEqual(came, ['first', 'second', 'third', 'fourth']);
});
