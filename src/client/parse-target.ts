import { DEFAULT_MASS_LOSS, type MassLossLimits } from '../config/mass-loss-limits.ts';
import { parseStoreUrl } from '../config/parse-store-url.ts';
import type { StoreConfig } from '../config/store-config.ts';
import { UsageError } from '../errors.ts';
import type { ConnectOptions } from './connect-options.ts';

export type Target =
  | { readonly kind: 'agent'; readonly origin: string }
  | { readonly kind: 'store'; readonly config: StoreConfig; readonly massLoss: MassLossLimits | null };

/** @throws UsageError */
export function parseTarget(url: string, options: ConnectOptions): Target {
  const { caFile = null, certFile = null, keyFile = null, user = null, password = null, massLoss } = options;
  const settings = { caFile, certFile, keyFile, user, password };
  if (/^https?:/i.test(url)) {
    const given = Object.entries({ ...settings, massLoss: massLoss ?? null }).find(([, value]) => value !== null);
    if (given) throw new UsageError(`connect to ${url}: ${given[0]} is for a store URL; leave it out for an agent's`);
    return { kind: 'agent', origin: parseOrigin(url) };
  }
  if ((certFile === null) !== (keyFile === null))
    throw new UsageError('certFile and keyFile come together: one of them is missing');
  if (massLoss) requireLimits(massLoss);
  return {
    kind: 'store',
    config: parseStoreUrl(url, settings),
    massLoss: massLoss === undefined ? DEFAULT_MASS_LOSS : massLoss,
  };
}

function parseOrigin(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  // Agents speak no TLS and know no users; whatever follows the port would be dropped in silence.
  const isOrigin = parsed?.protocol === 'http:' && parsed.href === `${parsed.origin}/`;
  if (parsed && isOrigin) return parsed.origin;
  const shown = url.replace(/\/\/.*@/s, '//***@');
  throw new UsageError(`cannot read the agent URL "${shown}": the form is http://HOST:PORT, as http://127.0.0.1:51690`);
}

function requireLimits({ share, count }: MassLossLimits): void {
  if (!(share >= 0 && share <= 1)) throw new UsageError(`massLoss.share ${share}: expected a share from 0 to 1`);
  if (!Number.isSafeInteger(count) || count < 1)
    throw new UsageError(`massLoss.count ${count}: expected a whole number from 1`);
}
