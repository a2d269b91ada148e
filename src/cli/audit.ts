import { Command, Option } from 'commander';
import {
  type AuditReport,
  DIFFERENCE_KINDS,
  type DifferenceKind,
  isUndecided,
  type Note,
} from '../audit/audit-report.ts';
import { emptyAuditMemory } from '../audit/history.ts';
import { type EcsFlags, ecsOptions, ecsSettings, parseClusters } from '../config/ecs-flags.ts';
import { isLogged, logLevelOption, type OutputFormat, outputOption } from '../config/flags.ts';
import { repeatable } from '../config/flags-without-effect.ts';
import { type MassLossFlags, massLossLimits, massLossOptions } from '../config/mass-loss-flags.ts';
import { storeConfig, storeOptions, timeoutOption } from '../config/store-flags.ts';
import { formatDuration } from '../lib/duration.ts';
import { describeError, RollcallError, UsageError } from '../lib/errors.ts';
import { printable } from '../lib/foreign-text.ts';
import { describeSkipped } from '../record/flaws.ts';
import { describeSkew } from '../record/node-clock.ts';
import type { Roll } from '../record/roll.ts';
import { massLossNote } from '../registry/mass-loss.ts';
import { type CliContext, type ReadFlags, readFromStore, warn } from './context.ts';
import { renderTable } from './table.ts';

interface AuditFlags extends ReadFlags, EcsFlags, MassLossFlags {
  readonly cluster?: readonly string[];
  readonly allClusters: boolean;
  readonly output: OutputFormat;
}

/** Deadline of the whole audit, including its waits. ECS answers for 10,000 instances in less than 3 minutes. */
const AUDIT_DEADLINE_MS = 10 * 60_000;

const HELP = `
Differences: ghost (in ECS, not present on the roll), stray (present on the
roll, not in ECS), disconnected (present, its ecs-agent known to be disconnected
for more than 5 minutes), mismatch (another ARN or cluster on each side). The
audit reports a difference only if it still exists 12s later. Exit status: 0 no
difference, 1 differences, 2 the audit could not tell (or wrong usage).

Examples:
  rollcall audit --cluster demo --store etcd://127.0.0.1:2379
  rollcall audit --all-clusters --region us-east-1
  rollcall audit --cluster demo -o json |
    jq -r '.differences[] | select(.kind == "ghost") | .containerInstanceArn'`;

export function auditCommand(context: CliContext): Command {
  const command = new Command('audit')
    .description('Compare the roll with ECS. Changes nothing.')
    .addOption(
      repeatable(
        new Option('--cluster <names>', 'ECS clusters by name or ARN; repeatable, or comma-separated')
          .env('ROLLCALL_CLUSTER')
          .argParser(parseClusters),
      ),
    )
    .addOption(
      new Option('--all-clusters', 'all ECS clusters of the region').env('ROLLCALL_ALL_CLUSTERS').default(false),
    )
    .addOption(outputOption())
    .addHelpText('after', HELP);
  for (const option of [
    ...ecsOptions(),
    ...massLossOptions('note'),
    ...storeOptions(),
    timeoutOption(),
    logLevelOption(),
  ])
    command.addOption(option);
  return command.action(async (flags: AuditFlags) => {
    const clusters = askedClusters(command, flags);
    storeConfig(flags); // a wrong store URL is wrong usage, so refuse it before any request
    const { report, roll, skewSeconds } = await auditByCommand(context, flags, clusters).catch((error: unknown) => {
      context.signal.throwIfAborted();
      throw new UndecidedError(`could not tell: ${describeError(error)}`);
    });
    const isText = flags.output === 'text' || flags.output === 'wide';
    await context.stdout(
      isText ? renderAudit(report) : `${JSON.stringify(report, null, flags.output === 'json' ? 2 : 0)}\n`,
    );
    warn(context, flags, describeSkipped(roll.skipped));
    const skew = describeSkew({ ec2InstanceId: 'this machine', clockSkewSeconds: skewSeconds });
    warn(context, flags, skew === null ? [] : [`${skew}; the audit goes by that of ECS`]);
    const nodes = roll.entries.filter(({ record }) => report.clusters.includes(record.cluster ?? ''));
    const loss = massLossNote(nodes, massLossLimits(flags), true);
    const notes = [...(isText ? renderNotes(report) : []), ...(loss === null ? [] : [`note: ${loss}`])];
    if (isLogged(flags.logLevel, 'warn')) for (const line of notes) context.stderr(line);
    if (report.differences.length > 0) throw new RollcallError('the roll and ECS differ');
    const undecided = report.notes.filter(({ kind }) => isUndecided(kind)).length;
    if (undecided > 0) throw new UndecidedError(`could not tell for ${undecided} of the nodes; the notes say why`);
  });
}

/** The audit could not tell whether the two sides differ. */
class UndecidedError extends RollcallError {
  override readonly name = 'CouldNotTellError';
  override readonly exitCode = 2;
}

async function auditByCommand(
  context: CliContext,
  flags: AuditFlags,
  clusters: readonly string[] | null,
): Promise<{ readonly report: AuditReport; readonly roll: Roll; readonly skewSeconds: number | null }> {
  // Loaded here, because most commands do not use ECS.
  const [{ openEcsApi }, { runAudit }, { sayUnexpected }] = await Promise.all([
    import('../ecs/open-ecs-api.ts'),
    import('../audit/run-audit.ts'),
    import('../ecs/list-instances.ts'),
  ]);
  const { clock } = context;
  const onRecheck = (differences: number, waitMs: number) => {
    if (!isLogged(flags.logLevel, 'warn')) return;
    const nodes = differences === 1 ? '1 node seems' : `${differences} nodes seem`;
    context.stderr(`note: ${nodes} to differ; reading both sides again in ${formatDuration(waitMs)}`);
  };
  const onUnexpected = sayUnexpected((line) => {
    if (isLogged(flags.logLevel, 'warn')) context.stderr(line);
  });
  const ecs = await openEcsApi(ecsSettings(flags), context);
  try {
    return await readFromStore(
      context,
      flags,
      'audit',
      async (store, signal) => {
        let roll: Roll | null = null;
        const read = async (signal: AbortSignal) => {
          const newest = await store.read(signal, { hurry: true });
          roll ??= newest;
          return newest;
        };
        const deps = { store: { ...store, read }, ecs, clock, onRecheck, onUnexpected };
        const { report, skewSeconds } = await runAudit(deps, { clusters, memory: emptyAuditMemory }, signal);
        return { report, roll: roll ?? (await read(signal)), skewSeconds };
      },
      AUDIT_DEADLINE_MS,
    );
  } finally {
    ecs.close();
  }
}

/** A flag takes precedence over the variable of the other flag. @returns null: all clusters */
function askedClusters(command: Command, { cluster, allClusters }: AuditFlags): readonly string[] | null {
  const isFlag = (name: string) => command.getOptionValueSource(name) === 'cli';
  if (allClusters && cluster !== undefined && isFlag('cluster') === isFlag('allClusters')) {
    throw new UsageError('--cluster and --all-clusters exclude each other; see rollcall audit --help');
  }
  if (allClusters && !isFlag('cluster')) return null;
  if (cluster !== undefined) return cluster;
  throw new UsageError('set --cluster NAME or --all-clusters; see rollcall audit --help');
}

/** More notes would push the result off the screen. JSON has all of them. */
const MAX_NOTES = 20;
const LEGEND = ['DIFFERENCE', 'INSTANCE', 'IP', 'SINCE', 'CONTAINER INSTANCE ARN', 'REASON'];
const PLURALS: Record<DifferenceKind, string> = {
  ghost: 'ghosts',
  stray: 'strays',
  disconnected: 'disconnected',
  mismatch: 'mismatches',
};

/** An audit as text: one line per difference, sorted by kind, and a summary. */
export function renderAudit(report: AuditReport): string {
  const rows = report.differences.map((difference) => [
    difference.kind,
    difference.instanceId,
    difference.privateIpAddress,
    sinceText(difference.since, report),
    difference.containerInstanceArn,
    difference.reason,
  ]);
  return `${rows.length === 0 ? '' : renderTable(LEGEND, rows)}${printable(summary(report))}\n`;
}

/** One line per note; at most `MAX_NOTES`. */
export function renderNotes({ notes }: AuditReport): string[] {
  const lines = notes
    .slice(0, MAX_NOTES)
    .map((note) => printable(`note: ${note.kind}: ${describeNote(note)}: ${note.reason}`));
  const more = notes.length - lines.length;
  return more > 0 ? [...lines, `note: ${more} more notes; -o json has all of them`] : lines;
}

function summary({ clusters, agreeing, differences, elsewhere }: AuditReport): string {
  const where = clusters.length > 3 ? `${clusters.length} clusters` : clusters.join(', ');
  const counts = DIFFERENCE_KINDS.map((kind) => ({ kind, n: differences.filter((each) => each.kind === kind).length }))
    .filter(({ n }) => n > 0)
    .map(({ kind, n }) => `${n} ${n === 1 ? kind : PLURALS[kind]}`);
  const differ = counts.length === 0 ? 'none differs' : `${differences.length} differ: ${counts.join(', ')}`;
  const rest = elsewhere === 0 ? '' : `; ${elsewhere} present in other clusters, regions or accounts`;
  return `${where}: ${agreeing} agree, ${differ}${rest}`;
}

/** `since` is the auditor's, or a node's brought to EC2's clock; the two may still be a moment apart. */
function sinceText(since: string | null, { finishedAt }: AuditReport): string | null {
  const ageMs = Date.parse(finishedAt) - Date.parse(since ?? '');
  if (since === null || Number.isNaN(ageMs)) return since;
  return `${since} (${formatDuration(Math.max(0, ageMs))})`;
}

function describeNote({ instanceId, privateIpAddress, containerInstanceArn, cluster }: Note): string {
  const id = instanceId ?? containerInstanceArn ?? 'unknown';
  return [id, privateIpAddress, cluster === null ? null : `in ${cluster}`].filter((part) => part !== null).join(' ');
}
