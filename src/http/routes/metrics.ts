import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import PromRegistry from 'prom-client/lib/registry.js';
import { DIFFERENCE_KINDS } from '../../audit/audit-report.ts';
import { AUDIT_FAILURES } from '../../audit/fleet-audit/fleet-audit-plan.ts';
import type { AuditStatus } from '../../audit/fleet-audit/status.ts';
import { HEALTH_STATUSES, INTERRUPTION_KINDS } from '../../record/record.ts';
import type { Registry, RegistryStatus } from '../../registry/registry.ts';
import {
  type AgentReport,
  ATTRIBUTES_STATES,
  type CheckReport,
  DRAIN_PHASES,
  LEASE_STATES,
  type SourceReport,
} from '../agent-report.ts';
import type { Handler } from '../reply.ts';

/** Prometheus text. It uses known values only, so a scrape does not read the store. */
export function metrics(
  report: () => AgentReport,
  registry: Pick<Registry, 'status'>,
  residentBytes: () => number,
  auditor: { status(): AuditStatus } | null,
): Handler {
  return async () => ({
    status: 200,
    contentType: METRICS_CONTENT_TYPE,
    body: await renderMetrics([
      ...metricSamples(report(), registry.status(), residentBytes()),
      ...(auditor ? auditMetrics(auditor.status()) : []),
    ]),
  });
}

/** The samples of `/metrics`, in base units. An unknown value has no sample, because 0 would be wrong. */
export function metricSamples(report: AgentReport, registry: RegistryStatus, residentBytes: number): readonly Metric[] {
  return [
    gauge('rollcall_build_info', 'Version of this agent', [{ labels: { version: report.version }, value: 1 }]),
    ...leaseMetrics(report),
    ...sourceMetrics(report.sources),
    ...checkMetrics(report.checks),
    gauge(
      'rollcall_health_status',
      'One for the health in the record of this node, zero for the others',
      report.record ? oneHot('status', HEALTH_STATUSES, report.record.health.status) : [],
    ),
    gauge(
      'rollcall_interruption',
      'One for the notice that EC2 has sent to this node, zero for the others',
      oneHot('kind', INTERRUPTION_KINDS, report.interruption?.kind),
    ),
    gauge(
      'rollcall_drain_state',
      'One for the drain state of this node, zero for the others; only with --drain-on',
      report.drain ? oneHot('state', DRAIN_PHASES, report.drain.state) : [],
    ),
    gauge(
      'rollcall_ecs_attributes_state',
      'One for the state of the attributes in ECS, zero for the others; only with --ecs-attributes',
      report.ecsAttributes ? oneHot('state', ATTRIBUTES_STATES, report.ecsAttributes.state) : [],
    ),
    gauge(
      'rollcall_loop_age_seconds',
      'Time since the last step of each loop',
      report.loops.flatMap(({ name, ageMs }) => labelled({ loop: name }, seconds(ageMs))),
    ),
    gauge(
      'rollcall_clock_skew_seconds',
      'By how much the node’s clock is ahead of EC2’s, in whole minutes; absent where that is not known',
      typeof report.record?.clockSkewSeconds === 'number' ? plain(report.record.clockSkewSeconds) : [],
    ),
    ...registryMetrics(registry),
    gauge('process_resident_memory_bytes', 'Resident memory of the process', plain(residentBytes)),
    gauge(
      'process_start_time_seconds',
      'Start of the process since the epoch',
      plain(Date.parse(report.startedAt) / 1_000),
    ),
  ];
}

function leaseMetrics({ lease }: AgentReport): readonly Metric[] {
  const { counts } = lease;
  return [
    gauge(
      'rollcall_lease_state',
      'One for the state of the lease, zero for the others',
      oneHot('state', LEASE_STATES, lease.state),
    ),
    gauge('rollcall_registered', 'One while this node holds its lease', plain(lease.state === 'held' ? 1 : 0)),
    gauge(
      'rollcall_lease_believed_good',
      'One while the last heartbeat is less than one TTL ago',
      plain(lease.believedGood ? 1 : 0),
    ),
    gauge(
      'rollcall_lease_last_beat_age_seconds',
      'Time since the last confirmed heartbeat',
      seconds(lease.lastBeatAgeMs),
    ),
    gauge('rollcall_lease_ttl_seconds', 'Time to live of the presence lease', seconds(lease.ttlMs)),
    counter('rollcall_registrations_total', 'Times this node was registered', plain(counts.registrations)),
    counter('rollcall_lease_losses_total', 'Times the lease was lost or treated as lost', plain(counts.losses)),
    counter('rollcall_beats_total', 'Keep-alives of the presence lease by outcome', [
      { labels: { outcome: 'ok' }, value: counts.beats },
      { labels: { outcome: 'failed' }, value: counts.failedBeats },
    ]),
    counter('rollcall_record_writes_total', 'Times the record was written', plain(counts.recordWrites)),
    counter('rollcall_store_errors_total', 'Calls to the store that failed', plain(counts.storeErrors)),
  ];
}

function sourceMetrics(sources: readonly SourceReport[]): readonly Metric[] {
  const each = (samplesOf: (source: SourceReport) => readonly Sample[]) =>
    sources.flatMap((source) => labelled({ source: source.name }, samplesOf(source)));
  return [
    gauge(
      'rollcall_source_up',
      'One while the last read of a source succeeded',
      each(({ ageMs, lastError }) => plain(ageMs !== null && lastError === null ? 1 : 0)),
    ),
    gauge(
      'rollcall_source_age_seconds',
      'Time since the last complete answer',
      each(({ ageMs }) => seconds(ageMs)),
    ),
    counter(
      'rollcall_source_reads_total',
      'Reads of a source by outcome',
      // `reads` includes the failed ones.
      each(({ reads, failures }) => [
        { labels: { outcome: 'ok' }, value: reads - failures },
        { labels: { outcome: 'failed' }, value: failures },
      ]),
    ),
    gauge(
      'rollcall_source_duration_seconds',
      'Duration of the last read of a source',
      each(({ lastDurationMs }) => seconds(lastDurationMs)),
    ),
  ];
}

function checkMetrics(checks: readonly CheckReport[]): readonly Metric[] {
  const each = (samplesOf: (check: CheckReport) => readonly Sample[]) =>
    checks.flatMap((check) => labelled({ check: check.name }, samplesOf(check)));
  return [
    gauge(
      'rollcall_check_status',
      'One for the status of each check, zero for the others',
      each(({ status }) => oneHot('status', HEALTH_STATUSES, status)),
    ),
    gauge(
      'rollcall_check_age_seconds',
      'Time since the last run of a check',
      each(({ ageMs }) => seconds(ageMs)),
    ),
    gauge(
      'rollcall_check_duration_seconds',
      'Duration of the last run of a check',
      each(({ lastDurationMs }) => seconds(lastDurationMs)),
    ),
    counter(
      'rollcall_check_looks_total',
      'Runs of a check by outcome, before damping',
      // `looks` includes the failed ones.
      each(({ looks, failures }) => [
        { labels: { outcome: 'ok' }, value: looks - failures },
        { labels: { outcome: 'failed' }, value: failures },
      ]),
    ),
  ];
}

function registryMetrics(registry: RegistryStatus): readonly Metric[] {
  const nodes = Object.entries(registry.nodes ?? {});
  return [
    gauge(
      'rollcall_registry_watching',
      'One while the roll is watched for readers, zero also while that watch is down for longer than 15 s',
      plain(registry.watching && registry.watchDownMs === null ? 1 : 0),
    ),
    gauge(
      'rollcall_registry_watch_down_seconds',
      'For how long the watch of the roll has been down; zero while it is up or has no readers',
      seconds(registry.watchDownMs ?? 0),
    ),
    gauge(
      'rollcall_registry_age_seconds',
      'Time since the roll was last known to be up to date',
      seconds(registry.ageMs),
    ),
    gauge(
      'rollcall_registry_nodes',
      'Nodes on the watched roll by presence',
      registry.watching ? nodes.map(([presence, value]) => ({ labels: { presence }, value })) : [],
    ),
    counter('rollcall_registry_snapshots_total', 'Times the whole roll was read', plain(registry.snapshots)),
    counter('rollcall_registry_watch_restarts_total', 'Times a running watch failed', plain(registry.watchRestarts)),
    gauge(
      'rollcall_registry_uncertain',
      'One during a mass loss, while lost events are uncertain',
      plain(registry.uncertainty ? 1 : 0),
    ),
    counter(
      'rollcall_registry_mass_losses_total',
      'Mass losses that this agent saw; also those that began and ended between two scrapes',
      plain(registry.massLosses),
    ),
    gauge('rollcall_registry_held_losses', 'Lost nodes that may return', plain(registry.uncertainLosses)),
    gauge('rollcall_event_readers', 'Current event readers', plain(registry.eventReaders)),
    counter(
      'rollcall_event_readers_cut_total',
      'Event readers disconnected because they were too slow',
      plain(registry.slowReaders),
    ),
    counter('rollcall_event_catch_ups_total', 'Times old events were read from the store', plain(registry.catchUps)),
  ];
}

/** The continuous audit: the result is the fleet's, the counts are this process's. */
function auditMetrics({ summary, ageMs, leading, stale, counts }: AuditStatus): readonly Metric[] {
  const result = summary?.result;
  const differing = DIFFERENCE_KINDS.map((kind) => ({
    labels: { result: kind as string },
    value: result?.differences[kind] ?? 0,
  }));
  return [
    gauge(
      'rollcall_audit_nodes',
      'Nodes by their result in the last audit of the fleet, made by any agent',
      result ? [{ labels: { result: 'agreeing' }, value: result.agreeing }, ...differing] : [],
    ),
    gauge('rollcall_audit_age_seconds', 'Time since the last audit with a result', seconds(ageMs)),
    gauge(
      'rollcall_audit_stale',
      'One while the last audit with a result is older than two intervals and a TTL',
      plain(stale ? 1 : 0),
    ),
    gauge(
      'rollcall_audit_failing',
      'One while the last audit of the fleet had no result',
      summary ? plain(summary.lastRun.error === null ? 0 : 1) : [],
    ),
    gauge('rollcall_audit_leader', 'One while this agent audits for the fleet', plain(leading ? 1 : 0)),
    counter('rollcall_audit_elections_total', 'Times this agent was elected', plain(counts.elections)),
    counter('rollcall_audit_results_total', 'Audits of this agent with a result', plain(counts.results)),
    counter(
      'rollcall_audit_failures_total',
      'Audits of this agent without a result, by cause',
      AUDIT_FAILURES.map((cause) => ({ labels: { cause }, value: counts.failures[cause] })),
    ),
    counter(
      'rollcall_audit_refused_total',
      'Results that the store refused because this agent was no longer the leader',
      plain(counts.refused),
    ),
  ];
}

const METRICS_CONTENT_TYPE = PromRegistry.PROMETHEUS_CONTENT_TYPE;

/** The page in Prometheus' text format. A metric without samples is left out. */
function renderMetrics(metrics: readonly Metric[]): Promise<string> {
  // A new registry for each page, so that a sample that is gone does not stay on the next page.
  const page = new PromRegistry();
  for (const { name, type, help, samples } of metrics) {
    if (samples.length === 0) continue;
    const config = { name, help, labelNames: Object.keys(samples[0]?.labels ?? {}), registers: [page] };
    const add = type === 'counter' ? counterOf(new Counter(config)) : gaugeOf(new Gauge(config));
    for (const { labels, value } of samples) add(labels, value);
  }
  return page.metrics();
}

type Add = (labels: Readonly<Record<string, string>>, value: number) => void;

function counterOf(counter: Counter): Add {
  return (labels, value) => counter.inc({ ...labels }, value);
}

function gaugeOf(gauge: Gauge): Add {
  return (labels, value) => gauge.set({ ...labels }, value);
}

/** Each label has a bounded set of values, such as the names of sources, loops and checks. A node is never a label. */
interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly samples: readonly Sample[];
}

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

function gauge(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, type: 'gauge', help, samples };
}

function counter(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, type: 'counter', help, samples };
}

function plain(value: number): readonly Sample[] {
  return [{ labels: {}, value }];
}

function seconds(ms: number | null): readonly Sample[] {
  // Rounded to microseconds, to remove floating-point noise.
  return ms === null ? [] : plain(Math.round(ms * 1_000) / 1_000_000);
}

/** Adds labels before the samples' own. */
function labelled(more: Sample['labels'], samples: readonly Sample[]): readonly Sample[] {
  return samples.map(({ labels, value }) => ({ labels: { ...more, ...labels }, value }));
}

function oneHot(label: string, values: readonly string[], current: string | undefined): readonly Sample[] {
  return values.map((value) => ({ labels: { [label]: value }, value: value === current ? 1 : 0 }));
}
