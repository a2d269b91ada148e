import type { Clock } from '../timing/clock.ts';
import { createSdkEcsApi } from './aws/sdk-ecs-api.ts';
import type { EcsApi } from './ecs-api.ts';
import { EcsError } from './ecs-error.ts';
import type { EcsSettings } from './ecs-settings.ts';

export interface EcsDeps {
  readonly clock: Clock;
  readonly random: () => number;
}

/**
 * The ECS API through AWS's SDK, which is a bundle of its own and loaded here: 0.5 MB that no agent pays for that does
 * not ask ECS anything. Region and credentials are looked for at the first call.
 * @throws EcsError where the bundle is missing
 */
export async function openEcsApi(settings: EcsSettings, deps: EcsDeps): Promise<EcsApi> {
  const sdk = await import('./aws/sdk.ts').catch((error: NodeJS.ErrnoException) => {
    const message = `cannot load AWS’s SDK (${error.code ?? error.name}): ecs-sdk.cjs belongs beside rollcall.cjs; install both`;
    throw new EcsError(message, { code: 'NoSdk', retryable: false });
  });
  return createSdkEcsApi(sdk, settings, deps);
}
