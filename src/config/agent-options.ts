import { Option } from 'commander';
import { describeError, UsageError } from '../errors.ts';
import { formatDuration } from '../timing/duration.ts';
import type { AgentConfig } from './agent-config.ts';
import { type AuditFlags, auditConfig, auditOptions } from './audit-options.ts';
import { type CheckFlags, checkConfig, checkOptions } from './check-options.ts';
import { type EcsFlags, ecsOptions, ecsSettings } from './ecs-options.ts';
import { drainConfig, type EcsWriteFlags, ecsWriteOptions } from './ecs-write-options.ts';
import { type IdentityFlags, identityConfig, identityOptions } from './identity-options.ts';
import { type LogLevel, logLevelOption } from './log-level.ts';
import { type MassLossFlags, massLossLimits, massLossOptions } from './mass-loss-options.ts';
import { minimumTtlMs } from './minimum-ttl.ts';
import { durationBetween, httpOrigin, labels, listenAddress } from './parse-option.ts';
import { type StoreFlags, storeConfig } from './store-options.ts';

const HOUR_MS = 3_600_000;

/** @param env AWS's own variables are defaults here: they keep their meaning, and ROLLCALL_… ones outrank them */
export function agentOptions(env: Readonly<Record<string, string | undefined>>): Option[] {
  const onIpv6 = env['AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE']?.toLowerCase() === 'ipv6';
  // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
  const imds =
    env['AWS_EC2_METADATA_SERVICE_ENDPOINT'] || (onIpv6 ? 'http://[fd00:ec2::254]' : 'http://169.254.169.254');
  return [
    new Option('--presence-ttl <duration>', 'a node that is silent for this long is lost')
      .env('ROLLCALL_PRESENCE_TTL')
      .default(30_000, '30s')
      .argParser(durationBetween(1_000, HOUR_MS, 's')),
    new Option('--retention <duration>', 'how long the last record of a lost or departed node stays readable')
      .env('ROLLCALL_RETENTION')
      .default(24 * HOUR_MS, '24h')
      .argParser(durationBetween(1_000, 366 * 24 * HOUR_MS, 's')),
    new Option('--listen <host:port>', 'where the HTTP endpoints answer; port 0 takes a free one')
      .env('ROLLCALL_LISTEN')
      .default({ host: '127.0.0.1', port: 51_690 }, '127.0.0.1:51690')
      .argParser(listenAddress),
    new Option('--label <key=value>', 'a label of this node; repeatable, or several apart by commas')
      .env('ROLLCALL_LABEL')
      .default({}, 'none')
      .argParser(labels),
    ...identityOptions(),
    new Option('--metadata-endpoint <url>', 'EC2 metadata service; also AWS_EC2_METADATA_SERVICE_ENDPOINT')
      .env('ROLLCALL_METADATA_ENDPOINT')
      .default(imds)
      .argParser(httpOrigin),
    new Option('--metadata-interval <duration>', 'how often it is read')
      .env('ROLLCALL_METADATA_INTERVAL')
      .default(60_000, '1m')
      .argParser(durationBetween(1_000, 24 * HOUR_MS)),
    new Option('--allow-imds-v1', 'ask without a token when the service refuses to give one')
      .env('ROLLCALL_ALLOW_IMDS_V1')
      .default(false),
    new Option('--introspection-endpoint <url>', 'ecs-agent’s introspection API')
      .env('ROLLCALL_INTROSPECTION_ENDPOINT')
      .default('http://127.0.0.1:51678')
      .argParser(httpOrigin),
    new Option('--introspection-interval <duration>', 'how often it is read')
      .env('ROLLCALL_INTROSPECTION_INTERVAL')
      .default(10_000, '10s')
      .argParser(durationBetween(1_000, HOUR_MS)),
    new Option('--notice-interval <duration>', 'how often notices of interruption and maintenance are read')
      .env('ROLLCALL_NOTICE_INTERVAL')
      .default(5_000, '5s')
      .argParser(durationBetween(1_000, HOUR_MS)),
    ...checkOptions(env),
    ...massLossOptions(),
    ...auditOptions(),
    ...ecsWriteOptions(),
    ...ecsOptions(),
    new Option('--machine-id-file <path>', 'where the machine id of systemd (and fleet) stands')
      .env('ROLLCALL_MACHINE_ID_FILE')
      .default('/etc/machine-id'),
    logLevelOption(),
  ];
}

export interface AgentFlags
  extends StoreFlags,
    CheckFlags,
    MassLossFlags,
    IdentityFlags,
    AuditFlags,
    EcsWriteFlags,
    EcsFlags {
  readonly presenceTtl: number;
  readonly retention: number;
  readonly listen: { readonly host: string; readonly port: number };
  readonly label: Readonly<Record<string, string>>;
  readonly metadataEndpoint: string;
  readonly metadataInterval: number;
  readonly allowImdsV1: boolean;
  readonly introspectionEndpoint: string;
  readonly introspectionInterval: number;
  readonly noticeInterval: number;
  readonly machineIdFile: string;
  readonly logLevel: LogLevel;
}

/** A default is not parsed by commander, and this one may come from AWS's variable. */
function metadataOrigin(text: string): string {
  try {
    return httpOrigin(text);
  } catch (error) {
    throw new UsageError(`cannot use "${text}" of AWS_EC2_METADATA_SERVICE_ENDPOINT: ${describeError(error)}`);
  }
}

/** @throws UsageError where values that are right alone do not fit together */
export function agentConfig(flags: AgentFlags): AgentConfig {
  const store = storeConfig(flags);
  const minimumMs = minimumTtlMs(store);
  if (flags.presenceTtl < minimumMs) {
    const limit = formatDuration(minimumMs);
    throw new UsageError(
      `--presence-ttl ${formatDuration(flags.presenceTtl)} is too short for ${store.label}: at least ${limit} is needed`,
    );
  }
  if (flags.retention <= flags.presenceTtl) {
    throw new UsageError(
      `--retention ${formatDuration(flags.retention)} must be longer than --presence-ttl ${formatDuration(flags.presenceTtl)}`,
    );
  }
  return {
    store,
    presenceTtlMs: flags.presenceTtl,
    retentionMs: flags.retention,
    listen: flags.listen,
    labels: flags.label,
    identity: identityConfig(flags),
    metadataEndpoint: metadataOrigin(flags.metadataEndpoint),
    metadataIntervalMs: flags.metadataInterval,
    allowImdsV1: flags.allowImdsV1,
    introspectionEndpoint: flags.introspectionEndpoint,
    introspectionIntervalMs: flags.introspectionInterval,
    noticeIntervalMs: flags.noticeInterval,
    checks: checkConfig(flags),
    massLoss: massLossLimits(flags),
    audit: auditConfig(flags),
    ecs: ecsSettings(flags),
    ecsAttributes: flags.ecsAttributes,
    drain: drainConfig(flags),
    machineIdFile: flags.machineIdFile,
    logLevel: flags.logLevel,
  };
}
