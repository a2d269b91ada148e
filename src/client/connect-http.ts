import type { FleetStatus } from '../audit/fleet-answer.ts';
import { webClock } from '../lib/clock.ts';
import { quote, UsageError } from '../lib/errors.ts';
import { field, INSTANCE_ID } from '../record/codec.ts';
import type { InstanceJson } from '../record/roll.ts';
import { createAgentSource, parseOrigin, requireUrl } from './agent-source.ts';
import { createClient, filterQuery } from './create-client.ts';
import { fetchTransport } from './fetch-transport.ts';
import { parseFleetStatus } from './status-answer.ts';
import { AgentError, type CallOptions, type FilterOptions, type RollcallClient } from './types.ts';
import { readInstance } from './wire.ts';

export interface HttpOptions {
  /** The token that the agent asks for; a function is called for each request, so that it can change. */
  readonly token?: string | (() => string | Promise<string>);
  /** Default the global one. One of your own can trust other authorities, use a proxy or count requests. */
  readonly fetch?: typeof fetch;
  /** An abort closes the client; calls in progress reject with its reason. */
  readonly signal?: AbortSignal;
}

export interface HttpClient extends RollcallClient {
  /** One node, whatever its presence; null: it is not on the roll. Rejects as `list` does. */
  get(instanceId: string, options?: CallOptions): Promise<OneInstance | null>;
  /** How the fleet is: the body of `/v1/status`. Rejects as `list` does. */
  status(options?: FilterOptions & CallOptions): Promise<FleetStatus>;
}

export interface OneInstance {
  readonly containerInstance: InstanceJson;
  readonly revision: string;
  /** As in `RollList`. */
  readonly ageMs: number;
  readonly stale: boolean;
}

/**
 * A client of the agent at `url`, `http://HOST:PORT` or `https://HOST:PORT`. Connects at the first call.
 * @throws UsageError for an invalid URL
 */
export function connectHttp(url: string | URL, options: HttpOptions = {}): HttpClient {
  // Not the global one of now: a test may replace it later.
  const { token, fetch: ask = (...request) => fetch(...request), signal } = options;
  const origin = parseOrigin(requireUrl(url));
  const clock = webClock;
  const ofToken = typeof token === 'string' ? () => token : (token ?? null);
  const source = createAgentSource(origin, clock, fetchTransport(origin, ask, ofToken));
  const { within, ...client } = createClient(source, { clock, random: Math.random, signal });
  return {
    ...client,

    async get(instanceId, call = {}) {
      if (!INSTANCE_ID.test(instanceId)) {
        throw new UsageError(`${quote(instanceId)} is not an instance id: i- or mi- and 8 to 32 hex digits`);
      }
      const action = `read ${instanceId} at ${origin}`;
      const path = `/v1/containerInstances/${instanceId}`;
      return await within(action, call, (ending) =>
        source.read(path, action, ending, readOneInstance).catch((error: unknown) => {
          if (error instanceof AgentError && error.status === 404 && NOT_ON_ROLL.test(error.message)) return null;
          throw error;
        }),
      );
    },

    async status(call = {}) {
      const query = filterQuery(call);
      const action = `read the status at ${origin}`;
      return await within(action, call, (ending) =>
        source.read(`/v1/status?${query}`, action, ending, parseFleetStatus),
      );
    },
  };
}

/** Any server answers 404 to a path that it does not know. */
const NOT_ON_ROLL = /: \S+ is not on the roll at revision \d+$/;

function readOneInstance(text: string): OneInstance {
  const from = field.object(JSON.parse(text), 'body');
  return {
    containerInstance: readInstance(from['containerInstance']),
    revision: field.text(from['revision'], 'revision'),
    ageMs: field.number(from['ageMs'], 'ageMs'),
    stale: from['stale'] === true,
  };
}
