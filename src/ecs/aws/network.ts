import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { AgentOptions } from 'node:https';
import { firstLine } from '../../lib/errors.ts';
import { EcsError } from '../ecs-errors.ts';

/** How requests to AWS leave this machine: https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-proxy.html */
export interface AwsNetwork {
  /** For the SDK's request handler, which makes an agent of each. */
  readonly agents: { readonly httpAgent: AgentOptions; readonly httpsAgent: AgentOptions };
  /** The proxies without their passwords, for messages, such as `http://10.0.0.131:3128 (HTTPS_PROXY)`; null: none is set. */
  readonly proxy: string | null;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** As Go programs and browsers do it: a simulated ECS on this machine is not behind the proxy. */
const NEVER_PROXIED = 'localhost,127.0.0.1,::1,[::1]';
const MAX_BUNDLE_BYTES = 4_194_304;

/**
 * The proxies and the authorities that the aws CLI takes from the environment, which the SDK does not read. Only for
 * the APIs of AWS: EC2 metadata, the container's role and the store are never asked through a proxy.
 * @throws EcsError for a proxy that is no URL, or a bundle that cannot be read
 */
export function awsNetwork(env: Environment): AwsNetwork {
  const known = { keepAlive: true, maxSockets: 50 };
  const http = proxyOf(env, 'HTTP_PROXY');
  const https = proxyOf(env, 'HTTPS_PROXY');
  const set = [https, http].filter((each) => each !== null);
  const proxyEnv = {
    NO_PROXY: [...exceptions(env['no_proxy'] || env['NO_PROXY'] || ''), NEVER_PROXIED].join(','),
    ...(http && { HTTP_PROXY: http.url.href }),
    ...(https && { HTTPS_PROXY: https.url.href }),
  };
  const behind = set.length === 0 ? known : { ...known, proxyEnv };
  return {
    agents: { httpAgent: behind, httpsAgent: { ...behind, ...authorities(env['AWS_CA_BUNDLE']) } },
    proxy: set.length === 0 ? null : set.map(({ name, url }) => `${url.protocol}//${url.host} (${name})`).join(' or '),
  };
}

/** The variable in lower case comes first, as for curl and Node. */
function proxyOf(env: Environment, name: 'HTTP_PROXY' | 'HTTPS_PROXY'): { name: string; url: URL } | null {
  const lower = name.toLowerCase();
  const used = env[lower] ? lower : name;
  const value = env[used];
  if (!value) return null;
  // ECS's own documentation writes it without a scheme.
  const url = URL.parse(value.includes('://') ? value : `http://${value}`);
  if (url && isProxy(url)) return { name: used, url };
  // Not the value: it may have a password.
  const help = `use http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with %25 for a % and %23 for a # in it, or unset ${used}`;
  throw new EcsError(`${used} is not the URL of an HTTP proxy; ${help}`, { code: 'BadProxy', retryable: false });
}

/** With a path, a query or a hash its password was not encoded: the host is a part of it. */
function isProxy({ protocol, username, password, pathname, search, hash }: URL): boolean {
  if (protocol !== 'http:' && protocol !== 'https:') return false;
  if (!['', '/'].includes(pathname) || search !== '' || hash !== '') return false;
  try {
    // As Node does, where nothing would catch it.
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
}

/** A domain stands for the hosts in it, too, as for the aws CLI and curl. Node takes it for one host unless it begins with a dot. */
function exceptions(hosts: string): readonly string[] {
  const named = hosts.split(',').map((host) => host.trim());
  const isDomain = (host: string) => /^[a-z0-9]/i.test(host) && !/^[\d.:/-]+$|:/.test(host);
  return named.filter((host) => host !== '').flatMap((host) => (isDomain(host) ? [host, `.${host}`] : [host]));
}

function authorities(path: string | undefined): { readonly ca?: Buffer } {
  if (!path) return {};
  try {
    const { size } = statSync(path);
    if (size > MAX_BUNDLE_BYTES) throw new Error(`it has ${size} bytes, more than ${MAX_BUNDLE_BYTES}`);
    const ca = readFileSync(path);
    // Node takes anything, and trusts nothing then.
    new X509Certificate(ca);
    return { ca };
  } catch (error) {
    const message = `cannot read AWS_CA_BUNDLE ${path}: ${firstLine(error)}; name a file of PEM certificates, or unset it`;
    throw new EcsError(message, { code: 'BadBundle', retryable: false });
  }
}
