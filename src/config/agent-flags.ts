import { isIPv4 } from 'node:net';
import { InvalidArgumentError, Option } from 'commander';
import type { AgentConfig } from '../agent/agent-config.ts';
import { DRAIN_CAUSES, type DrainCause, type DrainConfig } from '../agent/drain/cause.ts';
import type { NotifyConfig } from '../agent/systemd.ts';
import type { AuditConfig } from '../audit/fleet-audit/fleet.ts';
import { clusterName } from '../ecs/arn.ts';
import { formatDuration } from '../lib/duration.ts';
import { describeError, UsageError } from '../lib/errors.ts';
import { type IdentityConfig, MANAGED_INSTANCE_ID } from '../sources/external-instance.ts';
import { minimumTtlMs } from '../store/store-url.ts';
import { type CheckFlags, checkConfig, checkOptions } from './check-flags.ts';
import { type EcsFlags, ecsOptions, ecsSettings, parseClusters } from './ecs-flags.ts';
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
import { repeatable } from './flags-without-effect.ts';
import { type MassLossFlags, massLossLimits, massLossOptions } from './mass-loss-flags.ts';
import { type StoreFlags, storeConfig } from './store-flags.ts';

export interface AuditFlags {
  readonly auditInterval?: number;
  readonly auditClusters: AuditConfig['clusters'];
}

export function auditOptions(): Option[] {
  return [
    new Option(
      '--audit-interval <duration>',
      'how often one agent compares the roll with ECS for the whole fleet; off by default',
    )
      .env('ROLLCALL_AUDIT_INTERVAL')
      .argParser(durationBetween(60_000, 24 * HOUR_MS)),
    new Option('--audit-clusters <names>', 'ECS clusters to compare, comma-separated, or "all" clusters of the region')
      .env('ROLLCALL_AUDIT_CLUSTERS')
      .default('roll', 'the clusters of the nodes on the roll')
      .argParser(auditClusters),
  ];
}

export function auditConfig(flags: AuditFlags): AuditConfig | null {
  if (flags.auditInterval === undefined) return null;
  return { intervalMs: flags.auditInterval, clusters: flags.auditClusters };
}

function auditClusters(text: string): AuditConfig['clusters'] {
  return text === 'all' ? text : parseClusters(text);
}

/** What an agent may change in ECS. Without these flags it changes nothing. */
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
      'write health, machine id and labels to the container instance as rollcall.… attributes; needs ecs:PutAttributes, ecs:DeleteAttributes, ecs:DescribeContainerInstances',
    )
      .env('ROLLCALL_ECS_ATTRIBUTES')
      .default(false),
    new Option(
      '--drain-on <causes>',
      'let ECS drain this node on "interruption", "critical" or both, comma-separated; needs ecs:UpdateContainerInstancesState, ecs:DescribeContainerInstances',
    )
      .env('ROLLCALL_DRAIN_ON')
      .argParser(drainCauses),
    new Option(
      '--drain-critical-after <duration>',
      'drain a node that has been critical for this long; undo it after as long without critical',
    )
      .env('ROLLCALL_DRAIN_CRITICAL_AFTER')
      .default(300_000, '5m')
      .argParser(durationBetween(10_000, 24 * 3_600_000)),
    drainMaxShareOption(),
  ];
}

export function drainMaxShareOption(): Option {
  return new Option(
    '--drain-max-share <percent>',
    'share of a cluster’s present nodes that may drain at the same time; one node always may',
  )
    .env('ROLLCALL_DRAIN_MAX_SHARE')
    .default(10, '10%')
    .argParser(percentBetween(1, 100));
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
    throw new InvalidArgumentError(`Write ${DRAIN_CAUSES.join(', ')} or both, comma-separated.`);
  }
  return causes;
}

/**
 * The identity is never guessed: the SSM agent writes its registration file on EC2 instances too and leaves it there
 * when the host is deregistered, and a metadata service that is slow at boot must not give a node a second identity.
 */
export function identityOptions(): Option[] {
  return [
    new Option(
      '--identity <ec2|ssm|mi-…>',
      'where the node’s id comes from: ec2 (EC2 metadata), or for ECS Anywhere ssm (the SSM registration file) or the id itself',
    )
      .env('ROLLCALL_IDENTITY')
      .default('ec2')
      .argParser(identity),
    new Option('--ssm-registration-file <path>', 'registration file of the SSM agent; read with --identity ssm')
      .env('ROLLCALL_SSM_REGISTRATION_FILE')
      .default('/var/lib/amazon/ssm/registration')
      .argParser(nonEmpty),
    new Option(
      '--private-ip <address>',
      'IPv4 address of an ECS Anywhere node; default: the address of the interface with the default route',
    )
      .env('ROLLCALL_PRIVATE_IP')
      .argParser(ipv4Address),
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
    throw new UsageError(`--private-ip ${privateIp} is for ECS Anywhere; with --identity ec2 leave it out`);
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

function ipv4Address(text: string): string {
  if (!isIPv4(text) || text === '0.0.0.0') throw new InvalidArgumentError('Write an IPv4 address such as 10.0.0.7.');
  return text;
}

/**
 * A cluster in `ECS_CLUSTER` that cannot be one is not used: ecs-agent does not register with it either, and the node
 * must be on the roll for that to be seen.
 */
function clusterOption(env: Readonly<Record<string, string | undefined>>): Option {
  const option = new Option(
    '--cluster <name>',
    'ECS cluster of this node, by name or ARN, until its ecs-agent has named one; also ECS_CLUSTER',
  )
    .env('ROLLCALL_CLUSTER')
    .argParser(nameOfCluster);
  const name = clusterName(env['ECS_CLUSTER'] ?? '');
  return name === undefined ? option : option.default(name);
}

function nameOfCluster(text: string): string {
  const name = clusterName(text);
  if (name === undefined) throw new InvalidArgumentError('Write the name or ARN of one ECS cluster.');
  return name;
}

const HOUR_MS = 3_600_000;

/** What keeps the HTTP port from being open to everyone. */
function listenAccessOptions(): Option[] {
  return [
    new Option(
      '--listen-cert-file <path>',
      'PEM file of the certificate (with its chain) that the port speaks HTTPS with',
    )
      .env('ROLLCALL_LISTEN_CERT_FILE')
      .argParser(nonEmpty),
    new Option('--listen-key-file <path>', 'PEM file of that certificate’s key')
      .env('ROLLCALL_LISTEN_KEY_FILE')
      .argParser(nonEmpty),
    new Option(
      '--listen-client-ca-file <path>',
      'PEM file of the CA whose client certificates are let in; /healthz needs none',
    )
      .env('ROLLCALL_LISTEN_CLIENT_CA_FILE')
      .argParser(nonEmpty),
    new Option(
      '--listen-token-file <path>',
      'file with the tokens that are let in, one a line; /healthz and the page of the board need none',
    )
      .env('ROLLCALL_LISTEN_TOKEN_FILE')
      .argParser(nonEmpty),
  ];
}

/** @param env AWS's own variables are defaults and keep their meaning; a ROLLCALL_… variable outranks them */
export function agentOptions(env: Readonly<Record<string, string | undefined>>): Option[] {
  const onIpv6 = env['AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE']?.toLowerCase() === 'ipv6';
  // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
  const imds =
    env['AWS_EC2_METADATA_SERVICE_ENDPOINT'] || (onIpv6 ? 'http://[fd00:ec2::254]' : 'http://169.254.169.254');
  return [
    new Option('--presence-ttl <duration>', 'a node whose agent is silent for this long is lost')
      .env('ROLLCALL_PRESENCE_TTL')
      .default(30_000, '30s')
      .argParser(durationBetween(1_000, HOUR_MS, 's')),
    new Option('--retention <duration>', 'how long the last record of a lost or departed node stays readable')
      .env('ROLLCALL_RETENTION')
      .default(24 * HOUR_MS, '24h')
      .argParser(durationBetween(1_000, 366 * 24 * HOUR_MS, 's')),
    new Option('--listen <host:port>', 'address and port of the HTTP endpoints; port 0 takes a free port')
      .env('ROLLCALL_LISTEN')
      .default({ host: '127.0.0.1', port: 51_690 }, '127.0.0.1:51690')
      .argParser(listenAddress),
    ...listenAccessOptions(),
    repeatable(
      new Option('--label <key=value>', 'a label of this node; repeatable, or comma-separated')
        .env('ROLLCALL_LABEL')
        .default({}, 'none')
        .argParser(labels),
    ),
    ...identityOptions(),
    clusterOption(env),
    new Option('--metadata-endpoint <url>', 'EC2 metadata service; also AWS_EC2_METADATA_SERVICE_ENDPOINT')
      .env('ROLLCALL_METADATA_ENDPOINT')
      .default(imds)
      .argParser(readMetadataOrigin),
    new Option('--metadata-interval <duration>', 'how often EC2 metadata is read')
      .env('ROLLCALL_METADATA_INTERVAL')
      .default(60_000, '1m')
      .argParser(durationBetween(1_000, 24 * HOUR_MS)),
    new Option('--allow-imds-v1', 'read EC2 metadata without a session token when the service refuses one')
      .env('ROLLCALL_ALLOW_IMDS_V1')
      .default(false),
    new Option('--introspection-endpoint <url>', 'address of ecs-agent’s introspection API')
      .env('ROLLCALL_INTROSPECTION_ENDPOINT')
      .default('http://127.0.0.1:51678')
      .argParser(httpOrigin('http://127.0.0.1:51678')),
    new Option('--introspection-interval <duration>', 'how often ecs-agent’s introspection API is read')
      .env('ROLLCALL_INTROSPECTION_INTERVAL')
      .default(10_000, '10s')
      .argParser(durationBetween(1_000, HOUR_MS)),
    new Option('--notice-interval <duration>', 'how often notices of interruption and maintenance are read')
      .env('ROLLCALL_NOTICE_INTERVAL')
      .default(5_000, '5s')
      .argParser(durationBetween(1_000, HOUR_MS)),
    ...checkOptions(),
    ...massLossOptions(),
    ...auditOptions(),
    ...ecsWriteOptions(),
    ...ecsOptions(),
    new Option('--machine-id-file <path>', 'file with the machine id of systemd (and fleet)')
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
  readonly cluster?: string;
  readonly presenceTtl: number;
  readonly retention: number;
  readonly listen: { readonly host: string; readonly port: number };
  readonly listenCertFile?: string;
  readonly listenKeyFile?: string;
  readonly listenClientCaFile?: string;
  readonly listenTokenFile?: string;
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

const readMetadataOrigin = httpOrigin('http://169.254.169.254');

/** Commander does not parse a default, and this default may come from AWS's variable. */
function metadataOrigin(text: string): string {
  try {
    return readMetadataOrigin(text);
  } catch (error) {
    throw new UsageError(`AWS_EC2_METADATA_SERVICE_ENDPOINT "${text}": ${describeError(error)}`);
  }
}

/** @throws UsageError */
function listenAccess(flags: AgentFlags): AgentConfig['access'] {
  const { listenCertFile = null, listenKeyFile = null, listenClientCaFile = null, listenTokenFile = null } = flags;
  if ((listenCertFile === null) !== (listenKeyFile === null)) {
    throw new UsageError('one of --listen-cert-file and --listen-key-file is missing; set both');
  }
  // No reader could show a certificate on a port that speaks HTTP.
  if (listenClientCaFile !== null && listenCertFile === null) {
    throw new UsageError('--listen-client-ca-file needs --listen-cert-file and --listen-key-file; set them');
  }
  return {
    ...{ certFile: listenCertFile, keyFile: listenKeyFile },
    ...{ clientCaFile: listenClientCaFile, tokenFile: listenTokenFile },
  };
}

/** @throws UsageError for values that are valid alone but not together */
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
    access: listenAccess(flags),
    labels: flags.label,
    identity: identityConfig(flags),
    cluster: flags.cluster ?? null,
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
    'notify systemd: auto calls systemd-notify where NOTIFY_SOCKET is set; stdout prints the notifications for the unit’s shell to pass on, for containers',
  )
    .env('ROLLCALL_NOTIFY')
    .default('auto')
    .choices(['auto', 'stdout', 'off']);
}

export function journalOption(): Option {
  return new Option(
    '--journal <how>',
    'begin each line of the log with its priority, such as <4>, which journalctl -p warning understands; auto: where stderr is the journal',
  )
    .env('ROLLCALL_JOURNAL')
    .default('auto')
    .choices(['auto', 'on', 'off']);
}

/** Null: systemd is not notified. The values that systemd sets are used as they are, so no flag repeats them. */
export function notifyConfig(how: NotifyHow, env: Readonly<Record<string, string | undefined>>): NotifyConfig | null {
  if (how === 'off' || (how === 'auto' && !env['NOTIFY_SOCKET'])) return null;
  // WATCHDOG_PID is ignored: it names the unit's main process, which may be a container's client or a wrapper.
  const watchdogUs = /^[1-9]\d{0,15}$/.test(env['WATCHDOG_USEC'] ?? '') ? Number(env['WATCHDOG_USEC']) : null;
  return { by: how === 'stdout' ? 'stdout' : 'program', watchdogMs: watchdogUs === null ? null : watchdogUs / 1_000 };
}
