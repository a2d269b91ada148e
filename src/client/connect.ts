import type { AgentAccess } from '../lib/agent-access.ts';
import { systemClock } from '../lib/clock.ts';
import { UsageError } from '../lib/errors.ts';
import { DEFAULT_MASS_LOSS, type MassLossLimits } from '../registry/mass-loss.ts';
import { parseStoreUrl, type StoreConfig } from '../store/store-url.ts';
import { parseOrigin, requireUrl, shownUrl } from './agent-source.ts';
import { createClient } from './create-client.ts';
import { openHttpSource } from './http-source.ts';
import { openStoreSource } from './store-source.ts';
import type { ConnectOptions, RollcallClient } from './types.ts';

type Target =
  | { readonly kind: 'agent'; readonly origin: string; readonly access: AgentAccess }
  | { readonly kind: 'store'; readonly config: StoreConfig; readonly massLoss: MassLossLimits | null };

/** @throws UsageError */
function parseTarget(url: string, options: ConnectOptions): Target {
  const { caFile = null, certFile = null, keyFile = null, user = null, password = null, massLoss } = options;
  const { token = null, tokenFile = null } = options;
  const isAgent = /^https?:/i.test(url);
  const foreign = isAgent ? { user, password, massLoss: massLoss ?? null } : { token, tokenFile };
  const given = Object.entries(foreign).find(([, value]) => value !== null);
  if (given) {
    const [right, wrong] = isAgent ? ['a store URL', 'an agent’s URL'] : ['an agent’s URL', 'a store URL'];
    throw new UsageError(`connect to ${shownUrl(url)}: ${given[0]} is for ${right}; remove it for ${wrong}`);
  }
  if ((certFile === null) !== (keyFile === null))
    throw new UsageError('one of certFile and keyFile is missing; set both');
  if (isAgent) {
    if (token !== null && tokenFile !== null) throw new UsageError('token and tokenFile are both set; remove one');
    return { kind: 'agent', origin: parseOrigin(url), access: { caFile, certFile, keyFile, token, tokenFile } };
  }
  if (massLoss) requireLimits(massLoss);
  return {
    kind: 'store',
    config: parseStoreUrl(url, { caFile, certFile, keyFile, user, password }),
    massLoss: massLoss === undefined ? DEFAULT_MASS_LOSS : massLoss,
  };
}

function requireLimits({ share, count }: MassLossLimits): void {
  if (!(share >= 0 && share <= 1)) throw new UsageError(`massLoss.share ${share}: expected a share from 0 to 1`);
  if (!Number.isSafeInteger(count) || count < 1)
    throw new UsageError(`massLoss.count ${count}: expected a whole number from 1`);
}

/**
 * A client of the roll at `url`: a store (`etcd://HOST:2379[,HOST…][/PREFIX]`, `etcds://…`, `sqlite:PATH`) or an agent
 * (`http://HOST:PORT`, `https://…`). Both give the same results. An agent uses one watch of the store for all its clients.
 * Connects at the first call. @throws UsageError for an invalid URL or option
 */
export function connect(url: string | URL, options: ConnectOptions = {}): RollcallClient {
  const target = parseTarget(requireUrl(url), options);
  const clock = systemClock;
  const random = Math.random;
  const source =
    target.kind === 'agent'
      ? openHttpSource(target.origin, clock, target.access)
      : openStoreSource(target.config, { clock, random, massLoss: target.massLoss });
  const { within: _, ...client } = createClient(source, { clock, random, signal: options.signal });
  return client;
}
