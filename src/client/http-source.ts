import { type AgentAccess, OPEN_ACCESS, openAgentPool } from '../lib/agent-access.ts';
import type { Clock } from '../lib/clock.ts';
import { boundedGunzip, boundedText, statusOf } from '../lib/http-client.ts';
import { type AgentSource, createAgentSource } from './agent-source.ts';

const CONNECT_TIMEOUT_MS = 5_000;
/** Each watch uses one connection. */
const MAX_CONNECTIONS = 128;

/**
 * Reads from an agent's HTTP port by Node's own client, which knows certificates from files.
 * @param origin such as `http://127.0.0.1:51690` @param access of an agent that is not open
 */
export function openHttpSource(origin: string, clock: Clock, access: AgentAccess = OPEN_ACCESS): AgentSource {
  const limits = { connections: MAX_CONNECTIONS, connectTimeoutMs: CONNECT_TIMEOUT_MS };
  const pool = openAgentPool(origin, access, limits);
  return createAgentSource(origin, clock, {
    async get(path, headers, signal) {
      const answer = await pool.request({
        method: 'GET',
        path,
        headers: { ...codingFor(headers), ...headers },
        signal,
      });
      return {
        status: statusOf(answer),
        header(name) {
          const value = answer.headers[name];
          return value === undefined ? null : String(value);
        },
        text: (maxBytes) =>
          answer.headers['content-encoding'] === 'gzip'
            ? boundedGunzip(answer, maxBytes)
            : boundedText(answer, maxBytes),
        chunks: answer,
      };
    },
    close: () => pool.destroy(),
  });
}

/** A roll shrinks to a tenth. Events are read as they come, and in no coding. */
function codingFor({ accept }: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return accept === 'text/event-stream' ? {} : { 'accept-encoding': 'gzip' };
}
