import { systemClock } from '../timing/clock.ts';
import type { ConnectOptions } from './connect-options.ts';
import { createClient } from './create-client.ts';
import { openHttpSource } from './http-source.ts';
import { parseTarget } from './parse-target.ts';
import type { RollcallClient } from './rollcall-client.ts';
import { openStoreSource } from './store-source.ts';

/**
 * A client of the roll at `url`: a store (`etcd://HOST:2379[,HOST…][/PREFIX]`, `etcds://…`, `sqlite:PATH`) or an agent
 * (`http://HOST:PORT`). Both answer the same; a store is asked directly, an agent shares its one watch with all it serves.
 * @throws UsageError for a URL or an option that cannot be; nothing is connected yet
 */
export function connect(url: string, options: ConnectOptions = {}): RollcallClient {
  const target = parseTarget(url, options);
  const clock = systemClock;
  const random = Math.random;
  const source =
    target.kind === 'agent'
      ? openHttpSource(target.origin, clock)
      : openStoreSource(target.config, { clock, random, massLoss: target.massLoss });
  return createClient(source, { clock, random, signal: options.signal });
}
