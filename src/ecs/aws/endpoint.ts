import { quote } from '../../lib/errors.ts';
import { EcsError } from '../ecs-errors.ts';
import { CredentialError } from './call.ts';
import type { Environment, Settings, SharedFiles } from './config-files.ts';

type AwsService = 'ecs' | 'sts';

/**
 * The endpoint that the user names for a service, as botocore finds it; null: none, so AWS's own. The SDK would look for one
 * too, with its own parser: it overlooks `ENDPOINT_URL = …`, `endpoint_url: …` and a section of services that does not
 * exist, and what was meant for a test would go to AWS.
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
 * @param files null: they cannot be read @throws EcsError
 */
export function configuredEndpoint(
  service: AwsService,
  env: Environment,
  files: SharedFiles | null,
  profile: string,
): string | null {
  const settings = files === null ? {} : profileSettings(files, profile);
  if (ignoresEndpoints(env, settings)) return null;
  for (const name of [`AWS_ENDPOINT_URL_${service.toUpperCase()}`, 'AWS_ENDPOINT_URL']) {
    if (env[name]) return asUrl(env[name], name, `unset ${name}`);
  }
  const named = settings['services'];
  if (files && named !== undefined) {
    const url = servicesSection(files, named, profile)[`${service}.endpoint_url`];
    if (url) return asUrl(url, `endpoint_url of ${service} in [services ${named}]`, 'remove that setting');
  }
  const url = settings['endpoint_url'];
  return url ? asUrl(url, `endpoint_url of profile ${quote(profile)}`, 'remove that setting') : null;
}

/** Whether configured endpoints do not count. The SDK understands only `true` in lower case. */
export function ignoresEndpoints(env: Environment, settings: Settings): boolean {
  const ignore = env['AWS_IGNORE_CONFIGURED_ENDPOINT_URLS'] ?? settings['ignore_configured_endpoint_urls'];
  return ignore?.toLowerCase() === 'true';
}

/** A doubtful line is refused where credentials are read from the profile; keys in the environment do without it. */
function profileSettings({ configFile, credentialsFile }: SharedFiles, profile: string): Settings {
  try {
    return { ...configFile[profile], ...credentialsFile[profile] };
  } catch (error) {
    if (error instanceof CredentialError) return {};
    throw error;
  }
}

function servicesSection({ services, paths: [path] }: SharedFiles, name: string, profile: string): Settings {
  try {
    if (Object.hasOwn(services, name)) return services[name] ?? {};
  } catch (error) {
    if (error instanceof CredentialError) throw badEndpoint(`${error.message}; ${error.help}`);
    throw error;
  }
  throw badEndpoint(
    `services ${quote(name)} of profile ${quote(profile)} does not exist; add [services ${name}] to ${path}, or remove that setting`,
  );
}

/** The SDK takes `localhost:4566` for a URL of the scheme `localhost`, and sends a signed request to another server. */
function asUrl(url: string, setting: string, otherwise: string): string {
  if (/^https?:$/.test(URL.parse(url)?.protocol ?? '')) return url;
  throw badEndpoint(`${setting} is not the URL of an endpoint; use https://HOST or http://HOST:PORT, or ${otherwise}`);
}

function badEndpoint(message: string): EcsError {
  return new EcsError(message, { code: 'BadEndpoint', retryable: false });
}
