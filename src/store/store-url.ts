import { UsageError } from '../lib/errors.ts';

/** A validated store URL with its settings. `label` is for people and never contains a password. */
export type StoreConfig = EtcdStoreConfig | SqliteStoreConfig | MemoryStoreConfig;

export interface EtcdStoreConfig {
  readonly kind: 'etcd';
  readonly label: string;
  /** Origins such as `https://10.0.0.1:2379`, at least one, all http or all https. */
  readonly endpoints: readonly string[];
  /** Starts with a slash, does not end with one: `/rollcall`. */
  readonly prefix: string;
  readonly tls: EtcdTls | null;
  readonly credentials: { readonly user: string; readonly password: string } | null;
  /** The longest a call may take over all endpoints together. Default: `DEFAULT_CALL_TIMEOUT_MS`. */
  readonly callTimeoutMs?: number;
}

/** Long enough for a slow etcd, short enough for an agent with the shortest TTL. */
export const DEFAULT_CALL_TIMEOUT_MS = 2_500;

/** Paths of PEM files; null: not given. A certificate needs its key and the key its certificate. */
export interface EtcdTls {
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
}

export interface SqliteStoreConfig {
  readonly kind: 'sqlite';
  readonly label: string;
  readonly path: string;
}

/** One store per name and process. */
export interface MemoryStoreConfig {
  readonly kind: 'memory';
  readonly label: string;
  readonly name: string;
}

/** Settings from flags and variables; null: not given. */
export interface StoreSettings {
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
  readonly user: string | null;
  readonly password: string | null;
}

const FORMS = 'etcd://HOST:2379[,HOST:2379…][/PREFIX], etcds://… for TLS, or sqlite:PATH';
const DEFAULT_ETCD_PORT = 2379;
const DEFAULT_PREFIX = '/rollcall';
/** More endpoints than any etcd cluster has members. */
const MAX_ENDPOINTS = 16;

/** Not a store's URL. `rollcall` says before it which flag or variable it came from. */
export class StoreUrlError extends UsageError {}

/** @throws UsageError that names the URL (without its password), the problem and the valid forms */
export function parseStoreUrl(url: string, settings: StoreSettings): StoreConfig {
  const scheme = /^([a-z]+):/.exec(url)?.[1];
  const rest = url.slice((scheme?.length ?? 0) + 1);
  const isEtcd = scheme === 'etcd' || scheme === 'etcds';
  if (!isEtcd) refuseEtcdSettings(url, settings);
  if (isEtcd) return parseEtcd(url, scheme === 'etcds', rest, settings);
  if (scheme === 'sqlite') {
    if (rest === '' || rest.startsWith('//'))
      throw malformed(url, 'sqlite takes a path, as in sqlite:/var/lib/rollcall/roll.db');
    return { kind: 'sqlite', label: url, path: rest };
  }
  if (scheme === 'memory') return { kind: 'memory', label: url, name: rest };
  throw malformed(url, scheme ? `unknown scheme "${scheme}"` : 'it has no scheme');
}

function parseEtcd(url: string, secure: boolean, rest: string, settings: StoreSettings): EtcdStoreConfig {
  // Greedy up to the last @: hosts and prefixes have none, but a password that is not encoded may.
  const match = /^\/\/(?:(.*)@)?([^/@]+)(\/[^@?#]*)?$/s.exec(rest);
  if (!match) throw malformed(url, 'expected hosts after //, then nothing or a path');
  const [, userInfo, hosts = '', path = ''] = match;
  const endpoints = hosts.split(',').map((host) => parseEndpoint(url, secure, host));
  if (endpoints.length > MAX_ENDPOINTS)
    throw malformed(url, `${endpoints.length} endpoints, at most ${MAX_ENDPOINTS} are allowed`);
  const prefix = path.replace(/\/+$/, '') || DEFAULT_PREFIX;
  if (!/^(\/[\w.-]+)+$/.test(prefix))
    throw malformed(url, `the prefix "${prefix}" may hold letters, digits and . _ - between slashes`);
  const { caFile, certFile, keyFile } = settings;
  if (!secure && (caFile ?? certFile ?? keyFile) !== null)
    throw malformed(url, 'certificates were given, but etcd:// is plain text; use etcds://');
  if ((certFile === null) !== (keyFile === null))
    throw new UsageError('--etcd-cert-file and --etcd-key-file must be given together: one of them is missing');
  const tls: EtcdTls | null = secure ? { caFile, certFile, keyFile } : null;
  const scheme = secure ? 'etcds' : 'etcd';
  return {
    kind: 'etcd',
    label: `${scheme}://${endpoints.map((endpoint) => new URL(endpoint).host || endpoint).join(',')}${prefix}`,
    endpoints,
    prefix,
    tls,
    credentials: parseCredentials(url, userInfo, settings),
  };
}

function parseEndpoint(url: string, secure: boolean, host: string): string {
  const match = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?$/.exec(host);
  const port = Number(match?.[2] ?? DEFAULT_ETCD_PORT);
  if (!match || port < 1 || port > 65_535)
    throw malformed(url, `"${host}" is not HOST or HOST:PORT with a port from 1 to 65535`);
  return `${secure ? 'https' : 'http'}://${match[1]}:${port}`;
}

function parseCredentials(
  url: string,
  userInfo: string | undefined,
  settings: StoreSettings,
): EtcdStoreConfig['credentials'] {
  const [urlUser, urlPassword] = (userInfo ?? '').split(/:(.*)/s).map((part) => percentDecode(url, part));
  const user = settings.user ?? (urlUser || null);
  const password = settings.password ?? urlPassword ?? null;
  if (user === null && password === null) return null;
  if (user === null) throw new UsageError('a password for etcd was given without a user: add --etcd-user');
  if (password === null) {
    throw new UsageError(
      `the etcd user "${user}" was given without a password: add --etcd-password-file or ROLLCALL_ETCD_PASSWORD`,
    );
  }
  return { user, password };
}

function percentDecode(url: string, text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw malformed(url, 'user and password must be percent-encoded');
  }
}

function refuseEtcdSettings(url: string, settings: StoreSettings): void {
  const given = Object.entries(settings).find(([, value]) => value !== null);
  if (given)
    throw new UsageError(
      `an etcd setting was given, but the store ${hidePassword(url)} is not etcd: leave out the --etcd-… flags or name an etcd store`,
    );
}

function malformed(url: string, what: string): StoreUrlError {
  return new StoreUrlError(`cannot read the store URL "${hidePassword(url)}": ${what}; use ${FORMS}`);
}

function hidePassword(url: string): string {
  // Greedy: also hides a password that contains an unencoded slash or @.
  return url.replace(/\/\/.*@/s, '//***@');
}

/**
 * The shortest presence TTL that a store grants as asked. etcd grants at least one and a half election timeouts (1 s by
 * default), in whole seconds: https://etcd.io/docs/v3.5/learning/api/#lease-api
 */
export function minimumTtlMs(config: StoreConfig): number {
  return config.kind === 'etcd' ? 2_000 : 1_000;
}
