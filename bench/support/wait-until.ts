import { withDeadline } from '../../src/lib/deadline.ts';
import type { BenchContext } from '../benchmark.ts';

/** Asks every `everyMs` until the answer is not null; fails after `limitMs`, and when `probe` does. */
export function waitUntil<T>(
  { clock, signal }: BenchContext,
  what: string,
  { everyMs, limitMs }: { readonly everyMs: number; readonly limitMs: number },
  probe: (signal: AbortSignal) => Promise<T | null>,
): Promise<T> {
  return withDeadline(clock, limitMs, signal, `wait until ${what}`, async (deadline) => {
    for (;;) {
      const answer = await probe(deadline);
      if (answer !== null) return answer;
      await clock.sleep(everyMs, deadline);
    }
  });
}
