// Measures the memory of a roll's view, in a process with nothing else: node --expose-gc measure-view.ts STORE_URL
// Prints the JavaScript heap with its external memory, before the view and with it, after garbage collection.
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/lib/clock.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { openStore } from '../../src/store/open-store.ts';
import { parseStoreUrl } from '../../src/store/store-url.ts';

const [url = ''] = process.argv.slice(2);
const { signal } = new AbortController();
const none = { caFile: null, certFile: null, keyFile: null, user: null, password: null };
const parts = { clock: systemClock, random: Math.random, signal };
const store = await openStore(parseStoreUrl(url, none), { ...parts, create: false });
// The first view loads code and opens connections, which later views share and the figure must not include.
const first = createRegistry({ ...parts, store });
await first.read(signal);
await first.close();
const beforeBytes = await heapBytes();
const registry = createRegistry({ ...parts, store });
const nodes = (await registry.read(signal)).roll.entries.length;
const withViewBytes = await heapBytes();
process.stdout.write(`${JSON.stringify({ nodes, beforeBytes, withViewBytes })}\n`);
await registry.close();
await store.close();

/** Buffers of answers are freed in the turns after their last use. */
async function heapBytes(): Promise<number> {
  for (let round = 0; round < 3; round += 1) {
    globalThis.gc?.();
    await sleep(200);
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
