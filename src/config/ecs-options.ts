import { Option } from 'commander';
import type { EcsSettings } from '../ecs/ecs-settings.ts';
import { nonEmpty } from './parse-option.ts';

/** The flags of every command that asks the ECS API. Credentials and endpoint come as for any AWS tool. */
export function ecsOptions(): Option[] {
  return [
    new Option('--region <name>', 'AWS region; default: as any AWS tool finds it')
      .env('AWS_REGION')
      .argParser(nonEmpty),
    new Option('--profile <name>', 'profile of the AWS configuration files').env('AWS_PROFILE').argParser(nonEmpty),
  ];
}

export interface EcsFlags {
  readonly region?: string;
  readonly profile?: string;
}

export function ecsSettings({ region, profile }: EcsFlags): EcsSettings {
  return { region: region ?? null, profile: profile ?? null };
}
