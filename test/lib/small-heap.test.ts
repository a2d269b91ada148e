import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { keepHeapSmall, openHeap } from '../../src/lib/small-heap.ts';
import { until } from '../support/machine-time.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const MB = 1_000_000;

test('garbage of a small heap is collected when there is 1 MB of it, at the next poll', async (t) => {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const clock = simulatedClock();
  let [live, garbage, collections] = [8 * MB, 0, 0];
  const heap = {
    usedBytes: () => live + garbage,
    collect: () => {
      collections += 1;
      garbage = 0;
    },
  };
  keepHeapSmall(heap, clock, stop.signal).catch(() => {});
  const afterLook = async (more: number) => {
    garbage += more;
    await clock.advance(10_000);
    return [collections, garbage / MB];
  };
  assert.deepEqual(await afterLook(MB), [1, 0], 'what the start left behind');
  assert.deepEqual(await afterLook(0.75 * MB), [1, 0.75]);
  assert.deepEqual(await afterLook(0.5 * MB), [2, 0]);
  live = 30 * MB;
  assert.deepEqual(await afterLook(50 * MB), [2, 50], 'a large heap is left to V8');
  live = 8 * MB;
  garbage = 0;
  assert.deepEqual(await afterLook(2 * MB), [3, 0]);
});

test('a collection of the real heap frees what nothing holds, buffers included', async () => {
  const heap = openHeap();
  heap.collect();
  const beforeBytes = heap.usedBytes();
  let held: unknown = [Buffer.alloc(20 * MB), Array.from({ length: 500_000 }, (_, n) => ({ n }))];
  assert.ok(heap.usedBytes() - beforeBytes > 30 * MB, `${heap.usedBytes() - beforeBytes} bytes more`);
  assert.ok(held);
  held = null;
  // Buffers are freed beside the program, and counted off at the next collection.
  await until('the heap is as small as before', 10_000, async () => {
    heap.collect();
    return heap.usedBytes() - beforeBytes < 5 * MB;
  });
});

/** Replaces one of forty parts of a heap again and again. Prints the most that was used, as a multiple of what is live. */
const CHURN = `
const { getHeapStatistics } = require('node:v8');
const used = () => getHeapStatistics().used_heap_size;
const part = () => Array.from({ length: 12_000 }, (_, n) => ({ n }));
const parts = Array.from({ length: 40 }, part);
const live = used();
let most = live;
for (let n = 0; n < 600; n += 1) {
  parts[n % 40] = part();
  most = Math.max(most, used());
}
process.stdout.write(String(most / live));
`;

test('a large heap that grows slowly is collected long before it has doubled', async () => {
  const url = new URL('../../src/lib/small-heap.ts', import.meta.url);
  const first = `import { growHeapSlowly } from ${JSON.stringify(url)}; growHeapSlowly();`;
  const flags = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=1'];
  const args = [...flags, '--import', `data:text/javascript,${encodeURIComponent(first)}`, '-e', CHURN];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000, killSignal: 'SIGKILL' });
  assert.ok(Number(stdout) < 2, `${stdout} times what is live`);
});
