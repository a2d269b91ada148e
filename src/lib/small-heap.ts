import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from './clock.ts';

const POLL_EVERY_MS = 10_000;
/** For less, a collection is not worth its 25 to 50 ms. */
const GARBAGE_BYTES = 1_000_000;
/** What is larger, as where an agent holds the roll of a large fleet, takes longer to collect: V8 chooses when. */
const SMALL_BYTES = 24_000_000;

interface Heap {
  /** Buffers outside the heap that it keeps alive included. */
  usedBytes(): number;
  /** Stops the process meanwhile. */
  collect(): void;
}

/**
 * From now on V8 collects a heap that has grown by a third since the last collection. By itself it lets one of 24 MB grow to
 * four times that, with the buffers beside it, whose memory the C library then keeps.
 */
export function growHeapSlowly(): void {
  setFlagsFromString('--optimize-for-size');
}

export function openHeap(): Heap {
  setFlagsFromString('--expose-gc');
  // Only contexts that are made after the flag have it.
  const gc: (how: object) => void = runInNewContext('gc');
  return {
    // As when V8 runs out of memory: it also joins half-empty pages and gives them back, which is most of what is gained.
    collect: () => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' }),
    usedBytes: () => {
      const { used_heap_size, external_memory } = getHeapStatistics();
      return used_heap_size + external_memory;
    },
  };
}

/**
 * Collects the garbage of a small heap when there is some: V8 alone lets one of 8 MB, and the buffers beside it, grow by
 * half before it collects, and gives no page back. Ends by `signal`, with its reason.
 */
export async function keepHeapSmall(heap: Heap, clock: Pick<Clock, 'sleep'>, signal: AbortSignal): Promise<never> {
  // The first time also for what the start has left behind.
  let keptBytes = 0;
  for (;;) {
    await clock.sleep(POLL_EVERY_MS, signal);
    const usedBytes = heap.usedBytes();
    keptBytes = Math.min(keptBytes, usedBytes);
    if (usedBytes > SMALL_BYTES || usedBytes - keptBytes < GARBAGE_BYTES) continue;
    heap.collect();
    keptBytes = heap.usedBytes();
  }
}
