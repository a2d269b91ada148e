import type { Observation } from './observe-check.ts';

/** Something that looks at one thing of the node, again and again. */
export interface Probe {
  /** Name of the check. */
  readonly name: string;
  readonly intervalMs: number;
  /** A look settles within this time and 1 s more (children that are to be killed take that long), aborted or not. */
  readonly timeoutMs: number;
  /** One look. A rejection counts as critical, with the error as its reason, unless `signal` aborted. */
  readonly look: (signal: AbortSignal) => Promise<Observation>;
}

/** A probe and what it holds open. */
export interface OpenProbe extends Probe {
  /** Ends connections, and resolves when nothing of an aborted look is left. */
  readonly close: () => Promise<unknown>;
}
