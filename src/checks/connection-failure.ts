import { describeError } from '../lib/errors.ts';
import { type Observation, reasonFrom } from './check.ts';

const MEANINGS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was closed before an answer',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the name cannot be resolved',
  EHOSTUNREACH: 'no route',
  ENETUNREACH: 'no route',
  ENOENT: 'no such socket',
  EACCES: 'no permission to connect',
};

/**
 * Why a connection or a request failed, in a text that stays the same while the failure lasts. The system's own texts
 * contain the address or the local port of one attempt, and each new text would be a write of the record.
 * @param where the target, for messages
 */
function connectionFailure(where: string, error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  const meaning = typeof code === 'string' ? MEANINGS[code] : undefined;
  const text = meaning ?? describeError(error);
  return reasonFrom(`${text.endsWith('wrong version number') ? 'it does not speak TLS' : text} at ${where}`);
}

/** @param where what was asked, for the reason */
export async function criticalOnFailure(
  where: string,
  asking: Promise<Observation>,
  signal: AbortSignal,
): Promise<Observation> {
  try {
    return await asking;
  } catch (error) {
    signal.throwIfAborted();
    return { status: 'critical', reason: connectionFailure(where, error) };
  }
}
