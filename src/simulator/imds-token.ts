import { createHmac } from 'node:crypto';

/**
 * A session token that carries its own end, so that a simulator of hundreds of nodes keeps no list of tokens.
 * @param expiresAtMs on the simulator's monotonic clock
 */
export function issueToken(secret: string, expiresAtMs: number): string {
  const end = Math.floor(expiresAtMs).toString(36);
  return `AQAEA${end}_${signature(secret, end)}==`;
}

/** Whether this secret issued the token and it has not ended. */
export function tokenIsGood(secret: string, token: unknown, nowMs: number): boolean {
  const match = typeof token === 'string' ? /^AQAEA([0-9a-z]{1,12})_(.+)==$/.exec(token) : null;
  const end = match?.[1];
  return end !== undefined && match?.[2] === signature(secret, end) && nowMs < Number.parseInt(end, 36);
}

function signature(secret: string, end: string): string {
  return createHmac('sha256', secret).update(end).digest('base64url');
}
