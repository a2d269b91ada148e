import { Command } from 'commander';
import type { FleetStatus } from '../audit/fleet-answer.ts';
import { type FilterFlags, filterOptions } from '../config/filter-flags.ts';
import { isLogged, logLevelOption, type OutputFormat, outputOption } from '../config/flags.ts';
import { type MassLossFlags, massLossLimits, massLossOptions } from '../config/mass-loss-flags.ts';
import { readOptions } from '../config/store-flags.ts';
import { formatDuration } from '../lib/duration.ts';
import { printable } from '../lib/foreign-text.ts';
import { FILTER_NAMES, parseFilter } from '../record/filter.ts';
import type { StatusNode } from '../record/roll-status.ts';
import { type CliContext, type ReadFlags, readFromStore } from './context.ts';
import { withAgent } from './roll-reader.ts';
import { renderTable } from './table.ts';

interface StatusFlags extends ReadFlags, FilterFlags, MassLossFlags {
  readonly output: OutputFormat;
}

const HELP = `
One screen: the store and how old the view is, how many nodes of each cluster
and zone are present and how healthy, then the nodes to look at: lost and
departed ones (the store forgets them after a day), those not passing, those
that AWS announced to take away, those being drained. -o json has all numbers
and up to 100 nodes of each kind, 5,000 drains; it is the answer of
/v1/status.

Examples:
  rollcall status --store etcd://127.0.0.1:2379
  rollcall status --agent http://10.113.0.22:51690 --cluster demo
  rollcall status -o json | jq .nodes
  watch -n 5 rollcall status`;

export function statusCommand(context: CliContext): Command {
  const command = new Command('status')
    .description('Print a summary of the fleet: nodes by cluster, zone and health, and which need attention.')
    .addOption(outputOption())
    .addHelpText('after', HELP);
  for (const option of [...filterOptions(), ...massLossOptions('note'), ...readOptions(), logLevelOption()])
    command.addOption(option);
  return command.action(async (flags: StatusFlags) => {
    const status =
      flags.agent === undefined ? await fromStore(context, flags) : await fromAgent(context, flags, flags.agent);
    if (flags.output === 'json' || flags.output === 'ndjson') {
      await context.stdout(`${JSON.stringify(status, null, flags.output === 'json' ? 2 : 0)}\n`);
    } else {
      await context.stdout(renderStatus(status, context.clock.wallMs()));
    }
    if (!isLogged(flags.logLevel, 'warn')) return;
    for (const note of status.notes) context.stderr(printable(`note: ${note}`));
  });
}

async function fromStore(context: CliContext, flags: StatusFlags): Promise<FleetStatus> {
  const { fleetStatus, readStoreStatus } = await import('../audit/fleet-status.ts');
  return readFromStore(context, flags, 'status', async (store, signal) => {
    const [roll, rest] = await Promise.all([
      store.read(signal, { hurry: true }),
      readStoreStatus(store, context.clock, signal),
    ]);
    const filter = parseFilter(flags);
    const massLoss = massLossLimits(flags);
    return fleetStatus({ roll, ageMs: 0, stale: false, uncertainty: null, massLoss }, rest, filter);
  });
}

async function fromAgent(context: CliContext, flags: StatusFlags, origin: string): Promise<FleetStatus> {
  const { parseFleetStatus } = await import('../client/status-answer.ts');
  const query = new URLSearchParams();
  for (const name of FILTER_NAMES) for (const text of flags[name] ?? []) query.append(name, text);
  return withAgent(context, flags, origin, 'status', (agent, signal) =>
    agent.read(`/v1/status?${query}`, `read the status at ${origin}`, signal, parseFleetStatus),
  );
}

/** Of each kind; more would push the numbers off the screen. */
const MAX_NODES = 5;

/** @param nowMs wall clock, for the ages */
export function renderStatus(status: FleetStatus, nowMs: number): string {
  const rows = status.groups.map((group) => [
    group.cluster,
    group.availabilityZone,
    ...[group.present, group.passing, group.warning, group.critical, group.lost, group.departed].map(String),
  ]);
  const legend = ['CLUSTER', 'AZ', 'PRESENT', 'PASSING', 'WARNING', 'CRITICAL', 'LOST', 'DEPARTED'];
  const kinds = nodeRows(status, nowMs);
  const nodes = kinds.flatMap(({ shown }) => shown);
  const more = kinds.filter((kind) => kind.more > 0).map((kind) => `${kind.more} more ${kind.name}`);
  return [
    renderTable(null, headRows(status, nowMs)),
    ...(rows.length === 0 ? [] : [renderTable(legend, rows)]),
    ...(nodes.length === 0 ? [] : [renderTable(['NODE', 'INSTANCE', 'IP', 'CLUSTER', 'AZ', 'WHAT'], nodes)]),
    ...(more.length === 0 ? [] : [`${more.join(', ')}: rollcall list --all -o wide, or -o json\n`]),
  ].join('\n');
}

function headRows(status: FleetStatus, nowMs: number): readonly (readonly [string, string])[] {
  const { nodes, uncertainty } = status;
  const known = nodes.present + nodes.lost + nodes.departed;
  const health = `${nodes.passing} passing, ${nodes.warning} warning, ${nodes.critical} critical`;
  return [
    ['Store', storeText(status)],
    ['Roll', `revision ${status.revision}, ${status.stale ? `STALE: ${formatDuration(status.ageMs)} old` : 'current'}`],
    [
      'Nodes',
      known === 0 ? 'none' : `${nodes.present} present: ${health}; ${nodes.lost} lost, ${nodes.departed} departed`,
    ],
    ...(uncertainty === null
      ? []
      : [
          [
            'Uncertain',
            `${uncertainty.vanished} of ${uncertainty.nodes} nodes vanished at once; until ${uncertainty.until} the store or the network may be what failed`,
          ] as const,
        ]),
    ['Audit', auditText(status.audit, nowMs)],
  ];
}

function storeText({ store }: FleetStatus): string {
  const members =
    store.members === null ? [] : [`${store.members.length} ${store.members.length === 1 ? 'member' : 'members'}`];
  const leader = store.leader === null ? [] : [`leader ${store.leader}`];
  const parts = [...(store.version === null ? [] : [store.version]), ...members, ...leader];
  return parts.length === 0 ? store.url : `${store.url}: ${parts.join(', ')}`;
}

function auditText(audit: FleetStatus['audit'], nowMs: number): string {
  if (audit === null) return 'no agent audits (--audit-interval)';
  const by = audit.leader === null ? 'no agent leads at present' : `${audit.leader} audits`;
  if (audit.error !== null) return `${by}; the last audit failed: ${audit.error}`;
  if (audit.finishedAt === null) return `${by}; no result yet`;
  const differing = Object.entries(audit.differences).filter(([, count]) => count > 0);
  const counts = [...differing, ...(audit.undecided > 0 ? [['undecided', audit.undecided] as const] : [])];
  const found = counts.map(([kind, count]) => `${count} ${kind}`).join(', ') || 'none differs';
  return `${by}; ${age(audit.finishedAt, nowMs)} ago: ${audit.agreeing} agree, ${found}`;
}

/** An unknown instant is itself. @param node of which it is, if it is of one */
function age(instant: string, nowMs: number, node?: { readonly byOwnClock: boolean }, ago = ''): string {
  const atMs = Date.parse(instant);
  const by = node?.byOwnClock ? ' by its clock' : '';
  return Number.isNaN(atMs) ? instant : `${formatDuration(Math.max(0, nowMs - atMs))}${ago}${by}`;
}

type Row = readonly (string | null)[];

function nodeRows(status: FleetStatus, nowMs: number): readonly Kind[] {
  const { nodes } = status;
  const place = ({ ec2InstanceId, privateIpAddress, cluster, availabilityZone }: StatusNode) => [
    ec2InstanceId,
    privateIpAddress,
    cluster,
    availabilityZone,
  ];
  return [
    some('lost', nodes.lost, status.lost, (node) => [...place(node), `was ${node.health}`]),
    some('critical', nodes.critical, healthy(status, 'critical'), (node) => [
      ...place(node),
      unhealthyText(node, nowMs),
    ]),
    some('warning', nodes.warning, healthy(status, 'warning'), (node) => [...place(node), unhealthyText(node, nowMs)]),
    some('notice', status.noticed, status.notices, (node) => [
      ...place(node),
      [node.kind, node.action, node.time].filter((part) => part !== null).join(' '),
    ]),
    some(
      'drain',
      status.draining ?? 0,
      status.drains ?? [],
      ({ ec2InstanceId, privateIpAddress, cluster, availabilityZone, phase, reason, since }) => [
        ec2InstanceId,
        privateIpAddress,
        cluster,
        availabilityZone,
        `${phase ?? 'unknown'}${since === null ? '' : ` for ${age(since, nowMs)}`}: ${reason}`,
      ],
    ),
    some('departed', nodes.departed, status.departed, (node) => [
      ...place(node),
      `${node.cause} ${age(node.at, nowMs, node, ' ago')}`,
    ]),
  ];
}

const healthy = ({ unhealthy }: FleetStatus, health: string) => unhealthy.filter((node) => node.health === health);

function unhealthyText(node: FleetStatus['unhealthy'][number], nowMs: number): string {
  const what = [node.check, node.reason].filter((part) => part !== '').join(': ');
  return `${what} (${age(node.since, nowMs, node)})`;
}

interface Kind {
  readonly name: string;
  readonly shown: readonly Row[];
  /** How many are not shown. */
  readonly more: number;
}

function some<T>(name: string, total: number, items: readonly T[], row: (item: T) => Row): Kind {
  const shown = items.slice(0, MAX_NODES).map((item) => [name, ...row(item)]);
  return { name, shown, more: total - shown.length };
}
