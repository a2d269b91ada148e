import type { MassLossLimits } from '../config/mass-loss-limits.ts';

export interface ConnectOptions {
  /** PEM files for `etcds://`; they are read again for each connection, so that rotated ones are taken up. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Of etcd; they outrank those in the URL. */
  readonly user?: string;
  readonly password?: string;
  /**
   * When `lost` events are held back because too many nodes vanished at once: more than this share (0 to 1) of them and
   * at least so many. null: never. Default 0.3 and 5. At an agent's URL it is the agent's setting that counts.
   */
  readonly massLoss?: MassLossLimits | null;
  /** Its abort closes the client; what is under way rejects with its reason. */
  readonly signal?: AbortSignal;
}
