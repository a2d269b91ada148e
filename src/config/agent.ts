import { isIPv4 } from 'node:net';
import { InvalidArgumentError, Option } from 'commander';
import type { AgentConfig } from '../agent/agent-config.ts';
import { DRAIN_CAUSES, type DrainCause, type DrainConfig } from '../agent/drain/cause.ts';
import type { NotifyConfig } from '../agent/systemd.ts';
import type { AuditConfig } from '../audit/fleet-audit/run.ts';
import { clusterName } from '../ecs/arn.ts';
import { formatDuration } from '../lib/duration.ts';
import { describeError, UsageError } from '../lib/errors.ts';
import { type IdentityConfig, MANAGED_INSTANCE_ID } from '../sources/external-instance.ts';
import { minimumTtlMs } from '../store/store-url.ts';
import { type CheckFlags, checkConfig, checkOptions } from './checks.ts';
import { type EcsFlags, ecsOptions, ecsSettings } from './ecs.ts';
import {
  durationBetween,
  httpOrigin,
  type LogLevel,
  labels,
  listenAddress,
  logLevelOption,
  nonEmpty,
  percentBetween,
} from './flags.ts';
import { type MassLossFlags, massLossLimits, massLossOptions } from './mass-loss.ts';
import { type StoreFlags, storeConfig } from './store.ts';

export interface AuditFlags {
  readonly auditInterval?: number;
  readonly auditClusters: AuditConfig['clusters'];
}

export function auditOptions(): Option[] {
  return [
    new Option(
      '--audit-interval <duration>',
      'compare the roll with ECS so often, by one agent for the whole fleet; off by default',
    )
      .env('ROLLCALL_AUDIT_INTERVAL')
      .argParser(durationBetween(60_000, 24 * HOUR_MS)),
    new Option('--audit-clusters <names>', 'which ECS clusters, apart by commas, or "all" of the region')
      .env('ROLLCALL_AUDIT_CLUSTERS')
      .default('roll', 'those of the nodes on the roll')
      .argParser(auditClusters),
  ];
}

export function auditConfig(flags: AuditFlags): AuditConfig | null {
  if (flags.auditInterval === undefined) return null;
  return { intervalMs: flags.auditInterval, clusters: flags.auditClusters };
}

function auditClusters(text: string): AuditConfig['clusters'] {
  if (text === 'all') return text;
  const names = [...new Set(text.split(',').map((name) => name.trim()))];
  const wrong = names.find((name) => clusterName(name) === undefined);
  if (wrong !== undefined) {
    throw new InvalidArgumentError(`"${wrong.slice(0, 80)}" is no cluster’s name or ARN; or write all.`);
  }
  return names;
}

/** What an agent may change in ECS; nothing unless it is said. */
export interface EcsWriteFlags {
  readonly ecsAttributes: boolean;
  readonly drainOn?: readonly DrainCause[];
  readonly drainCriticalAfter: number;
  /** Percent. */
  readonly drainMaxShare: number;
}

export function ecsWriteOptions(): Option[] {
  return [
    new Option(
      '--ecs-attributes',
      'put health, machine id and labels on the container instance as rollcall.… attributes; needs ecs:PutAttributes, ecs:DeleteAttributes, ecs:DescribeContainerInstances',
    )
      .env('ROLLCALL_ECS_ATTRIBUTES')
      .default(false),
    new Option(
      '--drain-on <causes>',
      'have ECS drain this node on "interruption", "critical" or both, apart by a comma; needs ecs:UpdateContainerInstancesState, ecs:DescribeContainerInstances',
    )
      .env('ROLLCALL_DRAIN_ON')
      .argParser(drainCauses),
    new Option('--drain-critical-after <duration>', 'critical for this long drains; not critical for as long undoes it')
      .env('ROLLCALL_DRAIN_CRITICAL_AFTER')
      .default(300_000, '5m')
      .argParser(durationBetween(10_000, 24 * 3_600_000)),
    new Option(
      '--drain-max-share <percent>',
      'of a cluster’s present nodes, how many may drain at once; one always may',
    )
      .env('ROLLCALL_DRAIN_MAX_SHARE')
      .default(10, '10%')
      .argParser(percentBetween(1, 100)),
  ];
}

/** Null: nothing is drained. */
export function drainConfig(flags: EcsWriteFlags): DrainConfig | null {
  if (!flags.drainOn) return null;
  return { on: flags.drainOn, criticalAfterMs: flags.drainCriticalAfter, maxSharePercent: flags.drainMaxShare };
}

function drainCauses(text: string): readonly DrainCause[] {
  const names = text.split(',').map((name) => name.trim());
  const causes = DRAIN_CAUSES.filter((cause) => names.includes(cause));
  if (causes.length === 0 || names.some((name) => !causes.includes(name as DrainCause))) {
    throw new InvalidArgumentError(`Write ${DRAIN_CAUSES.join(', ')} or both, apart by a comma.`);
  }
  return causes;
}

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
  };
}

export type NotifyHow = 'auto' | 'stdout' | 'off';

export function notifyOption(): Option {
  return new Option(
    '--notify <how>',
    'tell systemd how it goes: auto calls systemd-notify where NOTIFY_SOCKET is set; stdout prints what the unit’s shell hands on, for containers',
  )
    .env('ROLLCALL_NOTIFY')
    .default('auto')
    .choices(['auto', 'stdout', 'off']);
}

/** null where nobody wants to be told. What systemd set is taken as it is: nobody has to repeat it in a flag. */
export function notifyConfig(how: NotifyHow, env: Readonly<Record<string, string | undefined>>): NotifyConfig | null {
  if (how === 'off' || (how === 'auto' && !env['NOTIFY_SOCKET'])) return null;
  // WATCHDOG_PID names the unit's main process, which a container's client or a wrapper may be: it is not asked.
  const watchdogUs = /^[1-9]\d{0,15}$/.test(env['WATCHDOG_USEC'] ?? '') ? Number(env['WATCHDOG_USEC']) : null;
  return { by: how === 'stdout' ? 'stdout' : 'program', watchdogMs: watchdogUs === null ? null : watchdogUs / 1_000 };
}
