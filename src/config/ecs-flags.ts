import { InvalidArgumentError, Option } from 'commander';
import { clusterName } from '../ecs/arn.ts';
import type { EcsSettings } from '../ecs/ecs-api.ts';
import { quote } from '../lib/errors.ts';
import { nonEmpty } from './flags.ts';

/** The flags of every command that calls the ECS API. Credentials and endpoint come as for any AWS tool. */
export function ecsOptions(defaultRegion = 'AWS_REGION, else the profile’s, else this instance’s'): Option[] {
  return [
    // The SDK reads AWS's own variables: it knows their order, and the order of profiles and the metadata service.
    new Option('--region <name>', `AWS region; default: ${defaultRegion}`).env('ROLLCALL_REGION').argParser(nonEmpty),
    new Option('--profile <name>', 'profile of the AWS configuration files; also AWS_PROFILE')
      .env('ROLLCALL_PROFILE')
      .argParser(nonEmpty),
  ];
}

/** Clusters by name or ARN, each once; several comma-separated or by repeating the flag. */
export function parseClusters(text: string, previous: readonly string[] = []): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  const wrong = names.find((name) => clusterName(name) === undefined);
  if (wrong !== undefined) {
    const empty = text === '' ? ' It is empty: give it a value or leave it out.' : '';
    throw new InvalidArgumentError(`${quote(wrong)} is not a cluster’s name or ARN.${empty}`);
  }
  return [...new Set([...previous, ...names])];
}

export interface EcsFlags {
  readonly region?: string;
  readonly profile?: string;
}

export function ecsSettings({ region, profile }: EcsFlags): EcsSettings {
  return { region: region ?? null, profile: profile ?? null };
}
