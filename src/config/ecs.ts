import { Option } from 'commander';
import type { EcsSettings } from '../ecs/ecs-api.ts';
import { nonEmpty } from './flags.ts';

/** The flags of every command that asks the ECS API. Credentials and endpoint come as for any AWS tool. */
export function ecsOptions(): Option[] {
  return [
    // AWS's own variables are the SDK's to read: it knows their order, and that of the profiles and the metadata service.
    new Option('--region <name>', 'AWS region; also AWS_REGION, the profile’s, this instance’s')
      .env('ROLLCALL_REGION')
      .argParser(nonEmpty),
    new Option('--profile <name>', 'profile of the AWS configuration files; also AWS_PROFILE')
      .env('ROLLCALL_PROFILE')
      .argParser(nonEmpty),
  ];
}

export interface EcsFlags {
  readonly region?: string;
  readonly profile?: string;
}

export function ecsSettings({ region, profile }: EcsFlags): EcsSettings {
  return { region: region ?? null, profile: profile ?? null };
}
