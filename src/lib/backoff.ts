/**
 * Exponential backoff with full jitter, as an immutable value: `next()` after a failure, `reset()` after a success. Full
 * jitter is a random delay between zero and a ceiling; it spreads the retries of a fleet that lost its store at one moment
 * best: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export class Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
  readonly attempt: number;

  /** @param baseMs ceiling of the first delay, > 0 @param maxMs highest ceiling, ≥ baseMs */
  constructor(baseMs: number, maxMs: number, attempt = 0) {
    this.baseMs = baseMs;
    this.maxMs = Math.max(baseMs, maxMs);
    this.attempt = attempt;
  }

  /** The delay before the next try. @param random evenly distributed in [0, 1) */
  delayMs(random: number): number {
    const ceilingMs = Math.min(this.maxMs, this.baseMs * 2 ** Math.min(this.attempt, 30));
    return ceilingMs * random;
  }

  /** One failure fewer. */
  previous(): Backoff {
    return this.attempt === 0 ? this : new Backoff(this.baseMs, this.maxMs, this.attempt - 1);
  }

  /** With another highest ceiling. */
  upTo(maxMs: number): Backoff {
    return new Backoff(this.baseMs, maxMs, this.attempt);
  }

  next(): Backoff {
    return new Backoff(this.baseMs, this.maxMs, this.attempt + 1);
  }

  reset(): Backoff {
    return this.attempt === 0 ? this : new Backoff(this.baseMs, this.maxMs);
  }
}
