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
  const NO_PROXY = [env['no_proxy'] || env['NO_PROXY'] || '', NEVER_PROXIED].filter((hosts) => hosts !== '').join(',');
  const proxyEnv = {
    NO_PROXY,
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
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return { name: used, url };
  // Not the value: it may have a password.
  const message = `${used} is not the URL of an HTTP proxy; use http://HOST:PORT, or unset ${used}`;
  throw new EcsError(message, { code: 'BadProxy', retryable: false });
}

function authorities(path: string | undefined): { readonly ca?: Buffer } {
  if (!path) return {};
  try {
    const { size } = statSync(path);
    if (size > MAX_BUNDLE_BYTES) throw new Error(`it has ${size} bytes, more than ${MAX_BUNDLE_BYTES}`);
    return { ca: readFileSync(path) };
  } catch (error) {
    const message = `cannot read AWS_CA_BUNDLE ${path}: ${firstLine(error)}; name a file of PEM certificates, or unset it`;
    throw new EcsError(message, { code: 'BadBundle', retryable: false });
  }
}
