// What scripts/deploy and scripts/undeploy cannot decide in the shell, as pure functions. Called as a program, it reads
// files and prints lines: deploy.ts COMMAND [FILE …] [--flag VALUE …].
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

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
    .map(([id = '', address = '-']) => ({ id, address: address === '-' ? null : address }));
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
    const id = machine.split('/')[0] ?? '';
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

export interface WantedCluster {
  /** The cluster that was asked for; null: none. */
  readonly cluster: string | null;
  /** The region in which ECS has it; null: ECS was not asked. */
  readonly region: string | null;
}

/** What an operator should check although every machine answered. */
export function warnings({ answered }: FleetAnswers, { cluster, region }: WantedCluster): string[] {
  return answered.flatMap(({ machine, node }) => {
    const name = machineName(machine);
    const found: string[] = [];
    const { address } = machine;
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
      machines: { type: 'string', default: '/dev/null' },
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
  const answers = () =>
    fleetAnswers(
      parseMachines(read(values.machines)),
      roll(),
      outdatedSessions(read(values.outdated), read(values.text)),
    );
  switch (command) {
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
      const first = names.slice(0, 5).join(', ');
      const shown = names.length > 5 ? `${first} and ${names.length - 5} more` : first;
      return [`${answered.length} ${answered.length + missing.length} ${shown}`];
    }
    case 'present':
      return answers().answered.map(({ machine, node }) => `${machineName(machine)}: ${node.ec2InstanceId}`);
    case 'missing': {
      const states = unitStates(read(values.states), values.unit);
      return answers().missing.map(({ machine, reason }) => {
        const units = states.get(machine.id) ?? `fleet has no state of ${values.unit.join(' or ')} there`;
        return `${machineName(machine)}: ${reason}; ${units}`;
      });
    }
    case 'warnings':
      return warnings(answers(), { cluster: values.cluster || null, region: values.region || null });
  }
  throw new Error(`unknown command: ${command}`);
}

if (import.meta.main) {
  const lines = runCommand(process.argv.slice(2), (path) => readFileSync(path, 'utf8'));
  for (const line of lines) process.stdout.write(`${line}\n`);
}
