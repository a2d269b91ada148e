import { describeError } from '../errors.ts';
import { reasonFrom } from './reason.ts';

const MEANINGS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was closed before an answer',
  UND_ERR_SOCKET: 'the connection was closed before an answer',
  UND_ERR_CONNECT_TIMEOUT: 'no connection',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name cannot be resolved',
  EHOSTUNREACH: 'no route',
  ENETUNREACH: 'no route',
  ENOENT: 'no such socket',
  EACCES: 'no permission to connect',
};

/**
 * Why a connection or a request failed, in words that stay the same while the trouble does: the system's own name the
 * address or the local port of that attempt, and each new text would be a write.
 * @param where what was asked, for people
 */
export function wireReason(where: string, error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  const meaning = typeof code === 'string' ? MEANINGS[code] : undefined;
  return reasonFrom(`${meaning ?? describeError(error)} at ${where}`);
}
