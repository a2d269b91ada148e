import { type Agent, get } from 'node:http';
import type { BenchContext } from '../benchmark.ts';

export interface TimedGet {
  /** Until the first byte of the body, and until its last. */
  readonly firstMs: number;
  readonly wholeMs: number;
  readonly bytes: number;
}

/** A GET whose body is counted and not kept, so that the client is not what is slow. */
export function timedGet({ clock, signal }: BenchContext, url: string, agent: Agent): Promise<TimedGet> {
  const sentMs = clock.monotonicMs();
  return new Promise((resolve, reject) => {
    const request = get(url, { agent, signal }, (answer) => {
      let bytes = 0;
      let firstMs = Number.NaN;
      answer.on('data', (chunk: Buffer) => {
        if (bytes === 0) firstMs = clock.monotonicMs() - sentMs;
        bytes += chunk.length;
      });
      answer.on('error', reject);
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve({ firstMs, wholeMs: clock.monotonicMs() - sentMs, bytes });
        else reject(new Error(`GET ${url}: ${answer.statusCode}`));
      });
    });
    request.on('error', reject);
  });
}
