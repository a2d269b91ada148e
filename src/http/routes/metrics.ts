import Counter from 'prom-client/lib/counter.js';
import Gauge from 'prom-client/lib/gauge.js';
import PromRegistry from 'prom-client/lib/registry.js';
import { AUDIT_FAILURES } from '../../audit/fleet-audit/plan.ts';
import type { AuditStatus } from '../../audit/fleet-audit/status.ts';
import { DIFFERENCE_KINDS } from '../../audit/report.ts';
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

/** Every label has a bounded set of values: sources, loops and checks are named by us or the operator; a node never is one. */
export interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly samples: readonly Sample[];
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export function gauge(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, type: 'gauge', help, samples };
}

export function counter(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, type: 'counter', help, samples };
}

export function plain(value: number): readonly Sample[] {
  return [{ labels: {}, value }];
}

export function seconds(ms: number | null): readonly Sample[] {
  // To the microsecond: what floating point makes of the rest is noise.
  return ms === null ? [] : plain(Math.round(ms * 1_000) / 1_000_000);
}

/** Samples with more labels, in front of their own. */
export function labelled(more: Sample['labels'], samples: readonly Sample[]): readonly Sample[] {
  return samples.map(({ labels, value }) => ({ labels: { ...more, ...labels }, value }));
}

export function oneHot(label: string, values: readonly string[], current: string | undefined): readonly Sample[] {
  return values.map((value) => ({ labels: { [label]: value }, value: value === current ? 1 : 0 }));
}

/** The standing audit as this agent knows it: the result is the fleet's, the runs are this process's own. */
export function auditMetrics({ summary, ageMs, leading, stale, counts }: AuditStatus): readonly Metric[] {
  const result = summary?.result;
  const differing = DIFFERENCE_KINDS.map((kind) => ({
    labels: { result: kind as string },
    value: result?.differences[kind] ?? 0,
  }));
  return [
    gauge(
      'rollcall_audit_nodes',
      'Nodes by what the last audit of the fleet found, whoever made it',
      result ? [{ labels: { result: 'agreeing' }, value: result.agreeing }, ...differing] : [],
    ),
    gauge('rollcall_audit_age_seconds', 'Time since the last audit that came to a result', seconds(ageMs)),
    gauge('rollcall_audit_stale', 'One while that is longer than two intervals and a TTL ago', plain(stale ? 1 : 0)),
    gauge(
      'rollcall_audit_failing',
      'One while the last audit of the fleet came to no result',
      summary ? plain(summary.lastRun.error === null ? 0 : 1) : [],
    ),
    gauge('rollcall_audit_leader', 'One while this agent audits for the fleet', plain(leading ? 1 : 0)),
    counter('rollcall_audit_elections_total', 'Times this agent was elected', plain(counts.elections)),
    counter('rollcall_audit_results_total', 'Audits of this agent that came to a result', plain(counts.results)),
    counter(
      'rollcall_audit_failures_total',
      'Audits of this agent that came to no result, by cause',
      AUDIT_FAILURES.map((cause) => ({ labels: { cause }, value: counts.failures[cause] })),
    ),
    counter(
      'rollcall_audit_refused_total',
      'Outcomes that the store did not take because another agent led by then',
      plain(counts.refused),
    ),
  ];
}

/** What `/metrics` says, in base units. What is not known has no sample, for zero would be a claim. */
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
      'One for what EC2 has announced to this node, zero for the others',
      oneHot('kind', INTERRUPTION_KINDS, report.interruption?.kind),
    ),
    gauge(
      'rollcall_drain_state',
      'One for where draining this node stands, zero for the others; only with --drain-on',
      report.drain ? oneHot('state', DRAIN_PHASES, report.drain.state) : [],
    ),
    gauge(
      'rollcall_ecs_attributes_state',
      'One for how the attributes in ECS stand, zero for the others; only with --ecs-attributes',
      report.ecsAttributes ? oneHot('state', ATTRIBUTES_STATES, report.ecsAttributes.state) : [],
    ),
    gauge(
      'rollcall_loop_age_seconds',
      'Time since the last step of each loop',
      report.loops.flatMap(({ name, ageMs }) => labelled({ loop: name }, seconds(ageMs))),
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
      'One while the lease was confirmed within its TTL',
      plain(lease.believedGood ? 1 : 0),
    ),
    gauge('rollcall_lease_last_beat_age_seconds', 'Time since the last confirmed beat', seconds(lease.lastBeatAgeMs)),
    gauge('rollcall_lease_ttl_seconds', 'Time to live of the presence lease', seconds(lease.ttlMs)),
    counter('rollcall_registrations_total', 'Times this node was registered', plain(counts.registrations)),
    counter('rollcall_lease_losses_total', 'Times the lease was found or presumed gone', plain(counts.losses)),
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
      // `reads` counts the failed ones too.
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
      'One for the verdict of each check, zero for the others',
      each(({ status }) => oneHot('status', HEALTH_STATUSES, status)),
    ),
    gauge(
      'rollcall_check_age_seconds',
      'Time since the last look of a check',
      each(({ ageMs }) => seconds(ageMs)),
    ),
    gauge(
      'rollcall_check_duration_seconds',
      'Duration of the last look of a check',
      each(({ lastDurationMs }) => seconds(lastDurationMs)),
    ),
    counter(
      'rollcall_check_looks_total',
      'Looks of a check by outcome, before damping',
      // `looks` counts the failed ones too.
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
    gauge('rollcall_registry_watching', 'One while the roll is watched for readers', plain(registry.watching ? 1 : 0)),
    gauge('rollcall_registry_age_seconds', 'Time since the roll was last proven up to date', seconds(registry.ageMs)),
    gauge(
      'rollcall_registry_nodes',
      'Nodes on the watched roll by presence',
      registry.watching ? nodes.map(([presence, value]) => ({ labels: { presence }, value })) : [],
    ),
    counter('rollcall_registry_snapshots_total', 'Times the whole roll was read', plain(registry.snapshots)),
    counter('rollcall_registry_watch_restarts_total', 'Times a live watch broke', plain(registry.watchRestarts)),
    gauge(
      'rollcall_registry_uncertain',
      'One while so many nodes vanished at once that their losses are held back',
      plain(registry.uncertainty ? 1 : 0),
    ),
    gauge('rollcall_registry_held_losses', 'Nodes whose loss is held back', plain(registry.heldLosses)),
    gauge('rollcall_event_readers', 'Readers that follow the events now', plain(registry.eventReaders)),
    counter('rollcall_event_readers_cut_total', 'Readers cut off for being too slow', plain(registry.slowReaders)),
    counter('rollcall_event_catch_ups_total', 'Times old events were read from the store', plain(registry.catchUps)),
  ];
}

export const METRICS_CONTENT_TYPE = PromRegistry.PROMETHEUS_CONTENT_TYPE;

/** The page in Prometheus' text format. A metric without samples is left out. */
export function renderMetrics(metrics: readonly Metric[]): Promise<string> {
  // A page of its own: what is not there at this scrape leaves nothing behind in the next.
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

/** Prometheus text. Made of what is known already: a scrape asks the store nothing. */
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
