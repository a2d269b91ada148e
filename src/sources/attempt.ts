import { SourceError } from './source-error.ts';

/** One read of several: what it gave, or why it gave nothing. Rejects with the signal's reason, or for a defect. */
export async function attempt<T>(work: () => Promise<T>): Promise<{ value: T } | { error: SourceError }> {
  try {
    return { value: await work() };
  } catch (error) {
    if (error instanceof SourceError) return { error };
    throw error;
  }
}
