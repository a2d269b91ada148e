import { createSdkEcsApi } from './aws/sdk-ecs-api.ts';
import type { EcsApi, EcsDeps, EcsSettings } from './ecs-api.ts';
import { EcsError } from './ecs-errors.ts';

/**
 * Opens the ECS API through the AWS SDK. The SDK is a separate bundle, loaded here, so that a process that does not use
 * ECS saves 0.5 MB. Region and credentials are read at the first call.
 * @throws EcsError if the bundle is missing
 */
export async function openEcsApi(settings: EcsSettings, deps: EcsDeps): Promise<EcsApi> {
  const sdk = await import('./aws/sdk.ts').catch((error: NodeJS.ErrnoException) => {
    const message = `cannot load the AWS SDK (${error.code ?? error.name}): ecs-sdk.cjs must be in the same directory as rollcall.cjs; install both`;
    throw new EcsError(message, { code: 'NoSdk', retryable: false });
  });
  return createSdkEcsApi(sdk, settings, deps);
}

interface OneEcs {
  /** The API in the region of the settings or, without one, in the ARN's region. */
  forArn(arn: string): Promise<EcsApi>;
  close(): Promise<void>;
}

/** One ECS API for all loops of an agent: opened at the first use, and again after a failure to open. */
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
        // One ARN is worked on at a time, so the API of the previous region is no longer in use.
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
