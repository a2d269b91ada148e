import type { Clock } from '../timing/clock.ts';
import type { EcsApi } from './ecs-api.ts';
import type { EcsSettings } from './ecs-settings.ts';

export interface EcsDeps {
  readonly clock: Clock;
  readonly random: () => number;
}

/**
 * The ECS API through AWS's SDK, which is a bundle of its own and loaded here: 0.6 MB that no agent pays for that does
 * not ask ECS anything. Region and credentials are looked for at the first call.
 */
export async function openEcsApi(settings: EcsSettings, deps: EcsDeps): Promise<EcsApi> {
  const { createSdkEcsApi } = await import('./aws/sdk-ecs-api.ts');
  return createSdkEcsApi(settings, deps);
}
