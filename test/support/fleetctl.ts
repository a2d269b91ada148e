// A stand-in for fleetctl 0.11 and 1.0 as operators meet them: what it prints, where, and with which exit status.
// FLEET_STANDIN is the folder of its registry, FLEET_STANDIN_VERSION which one it is.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fleetctlState } from './fleetctl-state.ts';
import { isGlobal, parseUnit, serializeUnit } from './fleetctl-units.ts';

const dir = process.env['FLEET_STANDIN'] ?? '';
const version = process.env['FLEET_STANDIN_VERSION'] ?? '1.0.0';
const old = version.startsWith('0.');
const state = fleetctlState(dir);

const COMMANDS: Record<string, readonly string[]> = {
  'list-machines': ['fields', 'full', 'no-legend'],
  'list-units': ['fields', 'full', 'no-legend'],
  'list-unit-files': ['fields', 'full', 'no-legend'],
  cat: [],
  submit: old ? [] : ['replace'],
  start: old ? ['no-block'] : ['no-block', 'replace'],
  stop: ['no-block'],
  destroy: old ? [] : ['no-block'],
  status: [],
};

const out = (line: string) => process.stdout.write(`${line}\n`);
const err = (line: string) => process.stderr.write(`${line}\n`);
const usage = () =>
  out(`NAME:\n\tfleetctl - a command-line interface to fleet\n\nUSAGE:\n\tfleetctl [command] [flags]`);

/** 0.11 ends with 2; 1.0 prints its usage and ends well. */
function misuse(problem: string, name: string): number {
  if (old) {
    err(problem);
    return 2;
  }
  err(`Error: ${problem}`);
  usage();
  err(`cannot execute cmdFleet: ${problem} (${name})`);
  return 0;
}

function run(argv: readonly string[]): number {
  appendFileSync(join(dir, 'calls.log'), `${argv.join(' ')}\n`);
  const fault = state.fault();
  if (fault === 'usage' || fault === `usage ${argv[0]}`) {
    usage();
    return 0;
  }
  if (argv[0] === '--version') {
    out(`fleetctl version ${version}`);
    return 0;
  }
  const [name = '', ...rest] = argv;
  const known = COMMANDS[name];
  if (!known) return misuse(`unknown command "${name}" for "fleetctl"`, name);
  const flags = new Map<string, string>();
  const args: string[] = [];
  for (const arg of rest) {
    const [, dashes, flag = '', value = 'true'] = /^(--?)([^=]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (dashes === undefined) args.push(arg);
    else if (!old && dashes === '-') return misuse(`unknown shorthand flag: '${flag[0]}' in ${arg}`, name);
    else if (!known.includes(flag)) {
      return misuse(old ? `flag provided but not defined: -${flag}` : `unknown flag: --${flag}`, name);
    } else flags.set(flag, value);
  }
  if (fault === 'unreachable') {
    const reason = 'Get http://domain-sock/fleet/v1/state: dial unix /var/run/fleet.sock: no such file or directory';
    err(name === 'list-machines' ? `Error retrieving list of active machines: ${reason}` : `Error: ${reason}`);
    return 1;
  }
  if (fault.startsWith('ssh ')) {
    // Asked on a terminal, an operator may accept an unknown key; without one the answer is no.
    if (fault.endsWith('unauthorized host')) {
      out("The authenticity of host '10.0.0.11:22' can't be established.");
      err('Host key verification failed.');
    }
    err(`Unable to initialize client: failed initializing SSH client: ${fault.slice('ssh '.length)}`);
    return 1;
  }
  if (fault === `hang ${name}`) {
    setTimeout(() => {}, 600_000);
    return 1;
  }
  if (fault === `refuse ${name}`) {
    err(`Error ${name}: 500 registry is read-only`);
    return 1;
  }
  return dispatch(name, flags, args);
}

function dispatch(name: string, flags: ReadonlyMap<string, string>, args: readonly string[]): number {
  if (name.startsWith('list-')) return list(name, flags);
  if (name === 'cat') {
    const unit = state.unit(basename(args[0] ?? ''));
    if (unit) process.stdout.write(serializeUnit(unit.options, !old));
    else err(`Unit ${basename(args[0] ?? '')} not found`);
    return unit ? 0 : 1;
  }
  for (const arg of args) {
    const unitName = basename(arg);
    if (name === 'submit' || name === 'start') {
      const status = create(name, arg, unitName, flags.has('replace'));
      if (status !== 0) return status;
    }
    const unit = state.unit(unitName);
    if (name === 'destroy') {
      state.removeUnit(unitName);
      if (unit) out(`Destroyed ${unitName}`);
      else err('Units not found in registry');
    }
    if (!unit) continue;
    if (name === 'start' && unit.dstate !== 'launched') {
      state.putUnit(unitName, { ...unit, dstate: 'launched' });
      out(`Triggered global unit ${unitName} start`);
    }
    if (name === 'stop') {
      state.putUnit(unitName, { ...unit, dstate: 'loaded' });
      out(`Triggered global unit ${unitName} stop`);
    }
    if (name === 'status' && old) {
      err(`Unable to determine status of global unit ${unitName}.`);
      return 1;
    }
  }
  return 0;
}

/** As both do it: a unit that is there stays as it is, with a warning, unless it may be replaced. */
function create(command: string, path: string, name: string, replace: boolean): number {
  const there = state.unit(name);
  if (!existsSync(path)) {
    if (there) return 0;
    err(`Error creating units: unable to find Unit(${name}) in Registry or on filesystem`);
    return 1;
  }
  const options = parseUnit(readFileSync(path, 'utf8'), old);
  const same = there !== null && serializeUnit(there.options, true) === serializeUnit(options, true);
  if (there && same) {
    if (replace) out(`Found same Unit(${name}) in Registry, nothing to do`);
    return 0;
  }
  if (there && (!replace || state.fault() === 'forget replace')) {
    const hint = old ? '' : ' Add --replace to override.';
    err(`WARNING: Unit ${name} in registry differs from local unit file ${path}.${hint}`);
    return 0;
  }
  if (there && command === 'submit' && there.dstate !== 'inactive') {
    err(`Warning: can not replace Unit(${name}) in state '${there.dstate}', use the appropriate command`);
    return 0;
  }
  state.putUnit(name, { options, dstate: 'inactive' });
  return 0;
}

function list(name: string, flags: ReadonlyMap<string, string>): number {
  const full = flags.has('full');
  const shortId = (id: string) => (full ? id : `${id.slice(0, 8)}...`);
  const ipOf = (id: string) => state.machines().find((machine) => machine.id === id)?.ip;
  const rows: Record<string, () => Record<string, string>[]> = {
    'list-machines': () => state.machines().map(({ id, ip }) => ({ machine: shortId(id), ip, metadata: '-' })),
    'list-units': () =>
      state.states().map(({ unit, machineId, active, sub }) => ({
        unit,
        machine: `${shortId(machineId)}/${ipOf(machineId) ?? ''}`,
        active,
        sub,
      })),
    'list-unit-files': () =>
      state.unitNames().map((unit) => {
        const { options = [], dstate = 'inactive' } = state.unit(unit) ?? {};
        return { unit, hash: '0000000', dstate, state: '-', target: 'global', global: String(isGlobal(options, !old)) };
      }),
  };
  const table = rows[name]?.() ?? [];
  const columns = flags.get('fields')?.split(',') ?? Object.keys(table[0] ?? {});
  if (!flags.has('no-legend')) out(columns.join('\t').toUpperCase());
  // Columns are padded with tabs, so that there may be several between two fields.
  for (const row of table) out(columns.map((column) => row[column] ?? '-').join('\t\t'));
  return 0;
}

process.exitCode = run(process.argv.slice(2));
