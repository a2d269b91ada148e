import { DRAIN_PHASES } from '../drain/drain-state.ts';
import { HEALTH_STATUSES } from '../record/record.ts';
import type { RegistryStatus } from '../registry/registry.ts';
import { INTERRUPTION_KINDS } from '../sources/notices.ts';
import {
  type AgentReport,
  ATTRIBUTES_STATES,
  type CheckReport,
  LEASE_STATES,
  type SourceReport,
} from './agent-report.ts';
import { counter, gauge, labelled, type Metric, oneHot, plain, type Sample, seconds } from './metric.ts';

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
