import { isIPv4 } from 'node:net';
import { InvalidArgumentError, Option } from 'commander';
import { UsageError } from '../errors.ts';
import { MANAGED_INSTANCE_ID } from '../sources/parse-ssm-registration.ts';
import type { IdentityConfig } from './identity-config.ts';
import { nonEmpty } from './parse-option.ts';

/**
 * Said, never guessed: SSM's agent writes its registration file on EC2 instances too, leaves it when the host is
 * deregistered, and a metadata service that is slow at boot must not give a node a second identity.
 */
export function identityOptions(): Option[] {
  return [
    new Option(
      '--identity <ec2|ssm|mi-…>',
      'who this node is: by EC2 metadata, or for ECS Anywhere by SSM’s registration file or by its id itself',
    )
      .env('ROLLCALL_IDENTITY')
      .default('ec2')
      .argParser(identity),
    new Option('--ssm-registration-file <path>', 'where SSM’s agent keeps it; read with --identity ssm')
      .env('ROLLCALL_SSM_REGISTRATION_FILE')
      .default('/var/lib/amazon/ssm/registration')
      .argParser(nonEmpty),
    new Option(
      '--private-ip <address>',
      'IPv4 address of an ECS Anywhere node; default: that of the interface with the default route',
    )
      .env('ROLLCALL_PRIVATE_IP')
      .argParser(ipv4),
  ];
}

export interface IdentityFlags {
  readonly identity: string;
  readonly ssmRegistrationFile: string;
  readonly privateIp?: string;
}

/** @throws UsageError */
export function identityConfig({ identity, ssmRegistrationFile, privateIp }: IdentityFlags): IdentityConfig {
  if (identity === 'ec2') {
    if (privateIp === undefined) return { kind: 'ec2' };
    throw new UsageError(`--private-ip ${privateIp} is for ECS Anywhere: with --identity ec2 the address is EC2's`);
  }
  return {
    kind: 'external',
    instanceId: identity === 'ssm' ? null : identity,
    registrationFile: ssmRegistrationFile,
    privateIpAddress: privateIp ?? null,
  };
}

function identity(text: string): string {
  if (text === 'ec2' || text === 'ssm' || MANAGED_INSTANCE_ID.test(text)) return text;
  throw new InvalidArgumentError('Write ec2, ssm, or the id of a managed instance such as mi-0123456789abcdef0.');
}

function ipv4(text: string): string {
  if (!isIPv4(text) || text === '0.0.0.0') throw new InvalidArgumentError('Write an IPv4 address such as 10.0.0.7.');
  return text;
}
