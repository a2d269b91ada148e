// What scripts/deploy and scripts/undeploy cannot decide in the shell, as pure functions. Called as a program, it reads
// files and prints lines: deploy.ts COMMAND [FILE …] [--flag VALUE …].
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { printable } from '../../src/lib/foreign-text.ts';
import { isAddress } from '../../src/record/address.ts';

/**
 * A unit file as fleet understands it, one `section<TAB>name=value` a line, to compare a file with the output of
 * `fleetctl cat`: fleet drops comments and indentation and writes the rest again. fleet 0.11 also joins continued lines,
 * with exactly this spacing, and 1.0 puts the parts of a section together; this does both.
 */
export function canonicalUnit(text: string): string[] {
  const bySection = new Map<string, string[]>();
  const lines = text.split('\n');
  let section = '';
  for (let index = 0; index < lines.length; index += 1) {
    const line = (lines[index] ?? '').trimStart();
    if (line.startsWith('#') || line.startsWith(';')) {
      // A comment that ends in a backslash includes the next line, in fleet as in systemd.
      while (/\\ ?$/.test(lines[index] ?? '')) index += 1;
      continue;
    }
    const header = /^\[([^\]]*)\]\s*$/.exec(line)?.[1];
    if (header !== undefined) {
      section = header;
      continue;
    }
    const equals = line.indexOf('=');
    if (equals < 0) continue;
    let value = line.slice(equals + 1);
    while (value.endsWith('\\') && index + 1 < lines.length) {
      index += 1;
      value = `${value.slice(0, -1)} ${lines[index]}`;
    }
    const options = bySection.get(section) ?? [];
    bySection.set(section, options);
    options.push(`${section}\t${line.slice(0, equals).trim()}=${value.trim()}`);
  }
  return [...bySection.values()].flat();
}

/** fleet 1.0 cuts longer lines. */
const MAX_LINE_BYTES = 2_048;

/**
 * Why fleet would not run this file on every machine; null: it would. fleet reports no error: it runs such a unit on one
 * machine, or reads other commands than its author wrote.
 */
export function unitDefect(text: string): string | null {
  if (text.includes('\r')) return 'it has Windows line ends, with which fleet joins continued lines wrongly';
  const misread = misreadLine(text.split('\n'));
  if (misread !== null) return misread;
  const options = canonicalUnit(text);
  if (options.length === 0) return 'it has no settings';
  const fleetOptions = options.filter((option) => option.startsWith('X-Fleet\t'));
  if (!fleetOptions.includes('X-Fleet\tGlobal=true')) {
    return 'it is not a global unit: fleet needs exactly "Global=true" below "[X-Fleet]"';
  }
  if (fleetOptions.some((option) => /^X-Fleet\tGlobal=(?!true$)/.test(option))) return 'it has Global= twice';
  return fleetOptions.map(misreadOption).find((defect) => defect !== null) ?? null;
}

function misreadLine(lines: readonly string[]): string | null {
  for (const [index, line] of lines.entries()) {
    const where = `line ${index + 1}`;
    const continued = index > 0 && lines[index - 1]?.endsWith('\\') === true;
    if (Buffer.byteLength(line) > MAX_LINE_BYTES) return `${where} is over ${MAX_LINE_BYTES} bytes, which fleet cuts`;
    if (/^\s*[#;]/.test(line)) {
      if (continued) return `${where} is a comment inside a continued line, which fleet makes part of it`;
    } else if (/\\[ \t]+$/.test(line)) return `${where} has a space behind its backslash, which ends the line`;
  }
  return null;
}

function misreadOption(option: string): string | null {
  const [, name = '', value = ''] = /^X-Fleet\t([^=]*)=(.*)$/.exec(option) ?? [];
  if (name === 'MachineMetadata' && !/^("[^"=]+=[^"=]+"\s*)+$/.test(value)) {
    return `fleet ignores MachineMetadata=${value} and would run it on every machine: write "NAME=VALUE", in quotes`;
  }
  if (/^(MachineID|MachineOf)$/.test(name)) return `${name}= is not for a global unit`;
  return null;
}

/** One line of `fleetctl list-machines`. */
export interface Machine {
  /** The text of its /etc/machine-id. */
  readonly id: string;
  readonly address: string | null;
}

/** `machine<TAB>ip` lines of `fleetctl list-machines --full --no-legend`; fleet pads with more tabs. */
export function parseMachines(text: string): Machine[] {
  return text
    .split('\n')
    .map((line) => line.split(/\t+/))
    .filter(([id = '']) => id !== '')
    .map(([id = '', address = '-']) => ({ id: printable(id), address: isAddress(address) ? address : null }));
}

/** The machine's name for an operator. */
export function machineName({ id, address }: Machine): string {
  return address === null ? `machine ${id}` : `${address} (machine ${id})`;
}

/**
 * machine id → `rollcall.service active/running, …` from the lines of
 * `fleetctl list-units --fields=unit,machine,active,sub --full --no-legend`.
 */
export function unitStates(text: string, units: readonly string[]): Map<string, string> {
  const states = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [unit = '', machine = '', active = '', sub = ''] = line.split(/\t+/);
    if (!units.includes(unit)) continue;
    const id = printable(machine.split('/')[0] ?? '');
    const before = states.get(id);
    states.set(id, `${before === undefined ? '' : `${before}, `}${unit} ${active}/${sub}`);
  }
  return states;
}

/** What the scripts use of one node in `rollcall list --all -o json`. */
export interface RollNode {
  readonly ec2InstanceId: string;
  readonly containerInstanceArn: string | null;
  readonly cluster: string | null;
  readonly machineId: string | null;
  readonly privateIpAddress: string | null;
  readonly publicIpAddress: string | null;
  readonly health: { readonly status: string };
  readonly departure: { readonly at: string; readonly cause: string } | null;
  readonly sidecar: { readonly session: string };
  readonly presence: { readonly state: 'present' | 'departed' | 'lost' };
}

export function parseRoll(text: string): RollNode[] {
  return JSON.parse(text).containerInstances;
}

/**
 * One line for each agent that is present before a unit is deployed: it still runs the earlier unit, and so does not
 * count as an answer, also not for a later run that finds the unit already deployed. Each line has the fingerprint of the
 * new unit, so that after going back to the earlier unit these agents count again.
 */
export function outdatedLines(roll: readonly RollNode[], unitText: string): string[] {
  const present = roll.filter(({ presence }) => presence.state === 'present');
  return present.map(({ sidecar }) => `${fingerprint(unitText)} ${sidecar.session}`);
}

/** The sessions of the agents that run an earlier unit than this one. */
export function outdatedSessions(lines: string, unitText: string): Set<string> {
  const of = `${fingerprint(unitText)} `;
  const those = lines.split('\n').filter((line) => line.startsWith(of));
  return new Set(those.map((line) => line.slice(of.length)));
}

function fingerprint(unitText: string): string {
  return createHash('sha256').update(canonicalUnit(unitText).join('\n')).digest('hex').slice(0, 16);
}

/** The machines of the fleet, by whether their agents are on the roll. */
export interface FleetAnswers {
  readonly answered: readonly { readonly machine: Machine; readonly node: RollNode }[];
  readonly missing: readonly { readonly machine: Machine; readonly reason: string }[];
}

/**
 * Which of fleet's machines have answered the roll.
 * @param oldSessions agents that run an earlier unit: their presence is no answer
 */
export function fleetAnswers(
  machines: readonly Machine[],
  roll: readonly RollNode[],
  oldSessions: ReadonlySet<string>,
): FleetAnswers {
  const answered: FleetAnswers['answered'][number][] = [];
  const missing: FleetAnswers['missing'][number][] = [];
  for (const machine of machines) {
    const nodes = roll.filter((node) => isOn(machine, node));
    const present = nodes.filter((node) => node.presence.state === 'present');
    const node = present.find(({ sidecar }) => !oldSessions.has(sidecar.session));
    if (node) answered.push({ machine, node });
    else missing.push({ machine, reason: missingReason(nodes, present, atAddress(machine, roll)) });
  }
  return { answered, missing };
}

/** By the machine id. The address counts only for an agent without a machine id. */
function isOn(machine: Machine, node: RollNode): boolean {
  if (node.machineId !== null) return node.machineId === machine.id;
  return hasAddress(machine, node);
}

function hasAddress({ address }: Machine, node: RollNode): boolean {
  return address !== null && (address === node.privateIpAddress || address === node.publicIpAddress);
}

function atAddress(machine: Machine, roll: readonly RollNode[]): RollNode | undefined {
  return roll.find((node) => node.presence.state === 'present' && hasAddress(machine, node));
}

function missingReason(
  nodes: readonly RollNode[],
  present: readonly RollNode[],
  sameAddress: RollNode | undefined,
): string {
  const [old] = present;
  if (old)
    return `${old.ec2InstanceId} still answers through an agent from before the unit was deployed; systemctl restart rollcall there ends it`;
  const [node] = nodes;
  if (!node && sameAddress) {
    return `${sameAddress.ec2InstanceId} answers from its address, but as machine ${sameAddress.machineId}`;
  }
  if (!node) return 'it never answered at this store';
  if (node.departure) return `${node.ec2InstanceId} departed (${node.departure.cause}) at ${node.departure.at}`;
  return `${node.ec2InstanceId} is lost: its agent ended without deregistering or is cut off from the store`;
}

/** Nodes that are present on the roll, but on no machine that fleet lists. */
export interface UnlistedNodes {
  /** In a cluster of the fleet: most likely its hosts, with a fleetd that is down. fleet changes nothing there. */
  readonly fleets: readonly RollNode[];
  /** In no cluster, or with nothing known of the fleet's: its hosts, or another fleet's. */
  readonly possible: readonly RollNode[];
  /** In other clusters: the store is not this fleet's alone. */
  readonly others: readonly RollNode[];
}

/**
 * @param machines those that fleet lists
 * @param cluster the cluster that is being deployed; null: only the ones that the fleet's nodes are in
 */
export function unlistedNodes(
  machines: readonly Machine[],
  roll: readonly RollNode[],
  cluster: string | null,
): UnlistedNodes {
  const listed = new Set(roll.filter((node) => machines.some((machine) => isOn(machine, node))));
  const clusters = new Set([...listed].map((node) => node.cluster).concat(cluster));
  clusters.delete(null);
  const unlisted = roll.filter((node) => node.presence.state === 'present' && !listed.has(node));
  const groups = Map.groupBy(unlisted, ({ cluster: its }) => {
    if (its === null || clusters.size === 0) return 'possible';
    return clusters.has(its) ? 'fleets' : 'others';
  });
  return {
    fleets: groups.get('fleets') ?? [],
    possible: groups.get('possible') ?? [],
    others: groups.get('others') ?? [],
  };
}

const MAX_NAMED_NODES = 20;

function unlistedLines({ fleets, possible, others }: UnlistedNodes, oldSessions: ReadonlySet<string>): string[] {
  const named = [...fleets, ...possible];
  const lines = named.slice(0, MAX_NAMED_NODES).map((node) => {
    const old = oldSessions.has(node.sidecar.session) ? '; its agent is from before the unit was deployed' : '';
    const name = machineName({ id: node.machineId ?? 'unknown', address: nodeAddress(node) });
    return `${name}: ${node.ec2InstanceId} is present on the roll, but fleet does not list its machine and changes nothing there${possible.includes(node) ? POSSIBLY : ''}${old}`;
  });
  if (named.length > lines.length) lines.push(`${named.length - lines.length} more nodes like these`);
  if (others.length === 1) lines.push('1 node of another cluster is present on this roll');
  if (others.length > 1) lines.push(`${others.length} nodes of other clusters are present on this roll`);
  return lines;
}

const POSSIBLY = "; it is possibly another fleet's: its cluster or this fleet's is not known";

function nodeAddress(node: RollNode): string | null {
  return node.privateIpAddress ?? node.publicIpAddress;
}

function nodeNames(nodes: readonly RollNode[]): string {
  return firstFive(nodes.map((node) => nodeAddress(node) ?? node.ec2InstanceId));
}

/** The first five, and how many more. */
function firstFive(names: readonly string[]): string {
  const first = names.slice(0, 5).join(', ');
  return names.length > 5 ? `${first} and ${names.length - 5} more` : first;
}

/**
 * The machines on which a unit is not known to have stopped, with the reason.
 * @param machines those that were in fleet's list in this run
 * @param listedIds those that are in it now
 * @param states of this one unit, as `unitStates` gives them
 * @param roll empty: the unit's containers are not on the roll
 */
export function notStopped(
  machines: readonly Machine[],
  listedIds: ReadonlySet<string>,
  states: ReadonlyMap<string, string>,
  roll: readonly RollNode[],
): { readonly machine: Machine; readonly reason: string }[] {
  const known = new Set(machines.map(({ id }) => id));
  const elsewhere = [...states.keys()].filter((id) => !known.has(id)).map((id) => ({ id, address: null }));
  return [...machines, ...elsewhere].flatMap((machine) => {
    const reasons: string[] = [];
    const node = roll.find((one) => one.presence.state === 'present' && isOn(machine, one));
    if (node) reasons.push(`${node.ec2InstanceId} is present on the roll`);
    const state = states.get(machine.id);
    if (state !== undefined && !/ (inactive|failed)\//.test(state)) reasons.push(state);
    if (known.has(machine.id) && !listedIds.has(machine.id)) reasons.push(NO_LONGER_LISTED);
    return reasons.length === 0 ? [] : [{ machine, reason: reasons.join('; ') }];
  });
}

const NO_LONGER_LISTED = 'fleet no longer lists it: the host or its fleetd is down';

export interface WantedCluster {
  /** The cluster that was asked for; null: none. */
  readonly cluster: string | null;
  /** The region in which ECS has it; null: ECS was not asked. */
  readonly region: string | null;
  /** The ids of the machines in fleet's list. */
  readonly listed: ReadonlySet<string>;
}

/** What an operator should check although every machine answered. */
export function warnings({ answered }: FleetAnswers, { cluster, region, listed }: WantedCluster): string[] {
  return answered.flatMap(({ machine, node }) => {
    const name = machineName(machine);
    const found: string[] = [];
    const { address } = machine;
    if (!listed.has(machine.id)) found.push(`${name} has answered, but ${NO_LONGER_LISTED}`);
    if (address !== null && address !== node.privateIpAddress && address !== node.publicIpAddress) {
      found.push(`${name} answers as ${node.privateIpAddress ?? 'no address'}, fleet has another address for it`);
    }
    if (node.containerInstanceArn === null) {
      found.push(`${name} has no container instance yet: its ecs-agent is not up or could not register`);
    } else if (cluster !== null && node.cluster !== null && node.cluster !== cluster) {
      found.push(`${name} is in cluster ${node.cluster}, not ${cluster}: its ecs-agent has another ECS_CLUSTER`);
    } else {
      // A cluster of the same name in another region is another cluster, and both may exist.
      const there = node.containerInstanceArn.split(':')[3];
      if (region !== null && there !== region) {
        found.push(
          `${name} is in cluster ${node.cluster} of ${there}, not ${region}: its ecs-agent has another AWS_REGION`,
        );
      }
    }
    if (node.health.status !== 'passing') found.push(`${name} is ${node.health.status}`);
    return found;
  });
}

/** The command's lines. @param read the text of a file */
export function runCommand(args: readonly string[], read: (path: string) => string): readonly string[] {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      /** Those that were in fleet's list in this run, and those that are in it now; without the latter both are the same. */
      machines: { type: 'string', default: '/dev/null' },
      listed: { type: 'string' },
      roll: { type: 'string', default: '' },
      /** The lines of `outdated` from before the agents were replaced, and the unit that they are for. */
      outdated: { type: 'string', default: '/dev/null' },
      text: { type: 'string', default: '/dev/null' },
      states: { type: 'string', default: '/dev/null' },
      cluster: { type: 'string', default: '' },
      region: { type: 'string', default: '' },
      unit: { type: 'string', multiple: true, default: [] },
    },
  });
  const [command = '', ...files] = positionals;
  const roll = () => (values.roll === '' ? [] : parseRoll(read(values.roll)));
  const machines = () => parseMachines(read(values.machines));
  const listed = () => parseMachines(read(values.listed ?? values.machines));
  const listedIds = () => new Set(listed().map(({ id }) => id));
  const oldSessions = () => outdatedSessions(read(values.outdated), read(values.text));
  const answers = () => fleetAnswers(machines(), roll(), oldSessions());
  const unlisted = () => unlistedNodes(machines(), roll(), values.cluster || null);
  const states = () => unitStates(read(values.states), values.unit);
  switch (command) {
    case 'line': // the text of another program, or of another host, as one line that is safe to print
      return [printable(read('/dev/stdin').trim().replace(/\s+/g, ' '))];
    case 'defect': // no line: none
      return [unitDefect(read(files[0] ?? ''))].filter((defect) => defect !== null);
    case 'same': {
      const [one, other] = files.map((file) => canonicalUnit(read(file)).join('\n'));
      return [one === other ? 'same' : 'different'];
    }
    case 'outdated':
      return outdatedLines(roll(), read(values.text));
    case 'count': {
      // ANSWERED ALL MISSING…
      const { answered, missing } = answers();
      const names = missing.map(({ machine }) => machine.address ?? machine.id);
      return [`${answered.length} ${answered.length + missing.length} ${firstFive(names)}`];
    }
    case 'present':
      return answers().answered.map(({ machine }) => machineName(machine));
    case 'missing': {
      const [unitsOf, ids] = [states(), listedIds()];
      return answers().missing.map(({ machine, reason }) => {
        const units = unitsOf.get(machine.id) ?? `fleet has no state of ${values.unit.join(' or ')} there`;
        const gone = ids.has(machine.id) ? '' : `${NO_LONGER_LISTED}; `;
        return `${machineName(machine)}: ${gone}${reason}; ${units}`;
      });
    }
    case 'unlisted':
      return unlistedLines(unlisted(), oldSessions());
    case 'unlisted-count': {
      // ALL OLD NAMES…
      const [{ fleets, possible }, old] = [unlisted(), oldSessions()];
      const nodes = [...fleets, ...possible];
      return [`${nodes.length} ${nodes.filter(({ sidecar }) => old.has(sidecar.session)).length} ${nodeNames(nodes)}`];
    }
    case 'unlisted-names': {
      // Two lines: the fleet's, those that are possibly another fleet's.
      const { fleets, possible } = unlisted();
      return [nodeNames(fleets), nodeNames(possible)];
    }
    case 'not-stopped':
      return notStopped(machines(), listedIds(), states(), roll()).map(
        ({ machine, reason }) => `${machineName(machine)}: ${reason}`,
      );
    case 'not-seen': {
      // NAMES… of the machines where fleet shows no state of the unit; no line: none
      const shown = states();
      const unseen = machines().filter(({ id }) => !shown.has(id));
      return unseen.length === 0 ? [] : [firstFive(unseen.map(({ address, id }) => address ?? id))];
    }
    case 'warnings':
      return warnings(answers(), {
        cluster: values.cluster || null,
        region: values.region || null,
        listed: listedIds(),
      });
  }
  throw new Error(`unknown command: ${command}`);
}

if (import.meta.main) {
  const lines = runCommand(process.argv.slice(2), (path) => readFileSync(path, 'utf8'));
  for (const line of lines) process.stdout.write(`${line}\n`);
}
