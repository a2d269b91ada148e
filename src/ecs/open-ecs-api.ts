import { createSdkEcsApi } from './aws/sdk-ecs-api.ts';
import type { EcsApi, EcsDeps, EcsSettings } from './ecs-api.ts';
import { EcsError } from './errors.ts';

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

export interface OneEcs {
  /** Of the ARN's region, unless the settings name one: no agent has to be told what its own ARN says. */
  forArn(arn: string): Promise<EcsApi>;
  close(): Promise<void>;
}

/** The ECS API for all loops of an agent: opened when the first one asks, again after it could not be. */
export function openEcsOnce(settings: EcsSettings, open: (settings: EcsSettings) => Promise<EcsApi>): OneEcs {
  let opened: { readonly region: string | null; readonly api: Promise<EcsApi> } | null = null;
  const close = async () => {
    const last = opened;
    opened = null;
    if (last) await last.api.then((api) => api.close()).catch(() => {});
  };
  return {
    async forArn(arn) {
      const region = settings.region ?? arn.split(':')[3] ?? null;
      if (opened?.region !== region) {
        // The two loops follow the same ARN, so nobody uses the one of the region before.
        await close();
        opened = { region, api: open({ ...settings, region }) };
      }
      const { api } = opened;
      try {
        return await api;
      } catch (error) {
        if (opened?.api === api) opened = null;
        throw error;
      }
    },
    close,
  };
}
