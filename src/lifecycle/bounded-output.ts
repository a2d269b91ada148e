import type { Readable } from 'node:stream';
import type { Clock } from '../timing/clock.ts';

export interface BoundedOutput {
  text(): string;
  /** True when there was more than was kept. */
  truncated(): boolean;
}

/**
 * Between two reads of what is only dropped: some 13 MB/s of a pipe's 64 kB. Reading a flood as fast as it comes would
 * cost more than half a core and twice the memory of this process.
 */
const DROP_PAUSE_MS = 5;

/** Reads streams to their end, all into one text in the order of arrival; what exceeds `maxBytes` is read and dropped. */
export function collectOutput(streams: readonly (Readable | null)[], maxBytes: number, clock: Clock): BoundedOutput {
  const chunks: Buffer[] = [];
  let keptBytes = 0;
  let truncated = false;
  for (const stream of streams) {
    // A pipe that breaks has ended; whatever ended it shows in the exit status.
    stream?.on('error', () => {});
    stream?.on('data', (chunk: Buffer) => {
      // A copy: a small part of a chunk would keep all of it in memory.
      const kept = Buffer.from(chunk.subarray(0, maxBytes - keptBytes));
      if (kept.length > 0) chunks.push(kept);
      keptBytes += kept.length;
      if (kept.length === chunk.length) return;
      truncated = true;
      stream.pause();
      void clock.sleep(DROP_PAUSE_MS, new AbortController().signal).then(() => stream.resume());
    });
  }
  return {
    // `stream` leaves out the character that the bound cut in two.
    text: () => new TextDecoder().decode(Buffer.concat(chunks), { stream: true }),
    truncated: () => truncated,
  };
}
