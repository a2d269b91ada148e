import type { Command } from 'commander';

/** A command with fewer flags is read at a glance. */
const MIN_FLAGS = 12;

/** Headings of the help, by the names of the parsed flags; the first that matches. */
const GROUPS: readonly (readonly [heading: string, names: RegExp])[] = [
  ['The store:', /^(store|etcd|agent($|[A-Z]))/],
  ['Which nodes:', /^(all|health|az|presence|selector|count)$/],
  ['What is printed:', /^(output|fields|sortBy|legend|watch|logLevel|format|zone|byLabel|srv|ttl|file|journal|why)$/],
  ['Leases and HTTP:', /^(presenceTtl|retention|listen|notify)/],
  ['Checks of this node:', /^(check|disk|docker)/],
  ['Many losses at once:', /^(massLoss|hold$)/],
  ['A command or a webhook for each event:', /^(exec|http|cursor$)/],
  ['This node:', /^(label|identity|ssm|privateIp|machineId|metadata|allowImds|introspection|notice)/],
  ['ECS:', /^(region|profile|audit|drain|ecs|allClusters|source|start|constraint|strategy)/],
];

/** Where a flag means something else: the cluster that an agent is in, the limit of a wait. */
const OWN: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  agent: { cluster: 'This node:', timeout: 'The store:' },
  list: { cluster: 'Which nodes:', timeout: 'The store:' },
  status: { cluster: 'Which nodes:', timeout: 'The store:' },
  watch: { cluster: 'Which nodes:', types: 'Which nodes:', since: 'Which nodes:' },
  dns: { cluster: 'Which nodes:', timeout: 'The store:' },
  wait: { cluster: 'Which nodes:', timeout: 'Which nodes:' },
  audit: { cluster: 'ECS:', timeout: 'The store:' },
  place: { cluster: 'ECS:', timeout: 'The store:', count: 'Options:' },
};

/** Gives the flags of a command with many of them headings in its help. */
export function groupFlags(command: Command): void {
  if (command.options.length < MIN_FLAGS) return;
  for (const option of command.options) {
    const name = option.attributeName();
    const heading = OWN[command.name()]?.[name] ?? GROUPS.find(([, names]) => names.test(name))?.[0];
    if (heading !== undefined) option.helpGroup(heading);
  }
}
