/** What one client, or all of them, can take of a node that has other work to do. */
export interface ServerLimits {
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  /** How often the two timeouts above are looked at: a slow client may have that much longer. */
  readonly checkIntervalMs: number;
  /**
   * A connection on which nothing moves is closed, so that a client that stops reading does not hold an answer. Streams
   * have a heartbeat three times within it.
   */
  readonly socketIdleMs: number;
  /** How long `close` lets answers under way finish. */
  readonly closeGraceMs: number;
  readonly maxHeaderBytes: number;
  readonly maxUrlChars: number;
  /** More than there may be event readers: probes and scrapes must come through beside them. */
  readonly maxConnections: number;
  readonly maxRequestsPerSocket: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 5_000,
  keepAliveTimeoutMs: 5_000,
  checkIntervalMs: 1_000,
  socketIdleMs: 30_000,
  closeGraceMs: 500,
  maxHeaderBytes: 8_192,
  maxUrlChars: 2_048,
  maxConnections: 1_280,
  maxRequestsPerSocket: 1_000,
};
