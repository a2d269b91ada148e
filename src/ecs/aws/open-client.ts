import type { ECSClient } from '@aws-sdk/client-ecs';
import type { Clock } from '../../timing/clock.ts';
import { createPacer } from '../../timing/pacer.ts';
import type { EcsSettings } from '../ecs-settings.ts';
import { collectAnswer } from './collect-answer.ts';
import type { Sdk } from './loaded-sdk.ts';
import { requireProfile } from './require-profile.ts';

export const CONNECT_TIMEOUT_MS = 3_000;
export const ANSWER_TIMEOUT_MS = 10_000;

export interface Client {
  readonly client: ECSClient;
  /** Where requests go: null what is not given and not found yet. */
  place(): { readonly region: string | null; readonly endpoint: string | null };
}

const silence = () => {};

/**
 * A client that finds region, credentials and endpoint as any AWS tool does; with the SDK's own look for a region in
 * EC2's metadata last. The SDK reads the process's environment by itself, so this file does it too where it leaves out
 * what the others read: https://docs.aws.amazon.com/sdkref/latest/guide/feature-region.html
 * `maxAttempts` 1: a call is sent once.
 */
export function openClient(
  sdk: Sdk,
  { region, profile, requestsPerSecond }: EcsSettings,
  { maxAttempts, clock }: { readonly maxAttempts: number; readonly clock: Clock },
): Client {
  const given = region ?? (process.env['AWS_REGION'] || process.env['AWS_DEFAULT_REGION'] || null);
  const client = new sdk.ECSClient({
    ...(given === null ? {} : { region: given }),
    ...(profile === null ? {} : { profile }),
    maxAttempts,
    retryMode: 'adaptive',
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      requestTimeout: ANSWER_TIMEOUT_MS,
      // Without it the SDK only warns of an answer that is late.
      throwOnRequestTimeout: true,
      // Between two pieces of an answer.
      socketTimeout: ANSWER_TIMEOUT_MS,
    },
    streamCollector: collectAnswer,
    // The SDK would warn on stderr, in many lines, of what it found twice.
    logger: { trace: silence, debug: silence, info: silence, warn: silence, error: silence },
  });
  let place: ReturnType<Client['place']> = { region: given, endpoint: null };
  const named = profile ?? (process.env['AWS_PROFILE'] || null);
  let profileFound = false;
  // Before credentials are looked for, so that a failure there can name the region.
  client.middlewareStack.add(
    (next) => async (args) => {
      if (named !== null && !profileFound) await requireProfile(sdk, named);
      profileFound = true;
      place = { ...place, region: await client.config.region() };
      return next(args);
    },
    { step: 'initialize', name: 'requireProfileAndRegion' },
  );
  client.middlewareStack.add(
    (next) => (args) => {
      const { protocol, hostname, port } = args.request as { protocol: string; hostname: string; port?: number };
      place = { ...place, endpoint: `${protocol}//${hostname}${port ? `:${port}` : ''}` };
      return next(args);
    },
    { step: 'build', name: 'rememberEndpoint' },
  );
  if (requestsPerSecond !== undefined) {
    const turn = createPacer(clock, requestsPerSecond);
    // It waits no longer than its call may take; the SDK hands no signal down to here.
    const { signal } = new AbortController();
    client.middlewareStack.add(
      (next) => async (args) => {
        await turn(signal);
        return next(args);
      },
      // Within the retries, which are of high priority in this step: each of them takes a turn.
      { step: 'finalizeRequest', priority: 'low', name: 'pace' },
    );
  }
  return { client, place: () => place };
}
