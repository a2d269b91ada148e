// What scripts/deploy and scripts/undeploy cannot decide in the shell. Files come in, lines for people go out.
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { canonicalUnit } from './canonical-unit.ts';
import { doubts } from './doubts.ts';
import { machineName, parseMachines } from './machine.ts';
import { muster } from './muster.ts';
import { outdatedLines, outdatedSessions } from './outdated-agents.ts';
import { parseRoll } from './roll-node.ts';
import { unitDefect } from './unit-defect.ts';
import { unitStates } from './unit-states.ts';

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    machines: { type: 'string', default: '/dev/null' },
    roll: { type: 'string', default: '' },
    /** What `outdated` said, before the agents were replaced, for this text of their unit. */
    outdated: { type: 'string', default: '/dev/null' },
    text: { type: 'string', default: '/dev/null' },
    states: { type: 'string', default: '/dev/null' },
    cluster: { type: 'string', default: '' },
    region: { type: 'string', default: '' },
    unit: { type: 'string', multiple: true, default: [] },
  },
});
const [command = '', ...files] = positionals;
const read = (path: string) => readFileSync(path, 'utf8');
const rollOf = (path: string) => (path === '' ? [] : parseRoll(read(path)));

const state = () =>
  muster(
    parseMachines(read(values.machines)),
    rollOf(values.roll),
    outdatedSessions(read(values.outdated), read(values.text)),
  );

/** Each answers with the lines it prints. */
const COMMANDS: Record<string, () => readonly string[]> = {
  // Nothing where fleet would take the file as it is meant.
  defect: () => [unitDefect(read(files[0] ?? ''))].filter((defect) => defect !== null),
  same: () => {
    const [one, other] = files.map((file) => canonicalUnit(read(file)).join('\n'));
    return [one === other ? 'same' : 'different'];
  },
  outdated: () => outdatedLines(rollOf(values.roll), read(values.text)),
  // How many answered, how many there are, and those that are missing.
  count: () => {
    const { answered, missing } = state();
    const names = missing.map(({ machine }) => machine.address ?? machine.id);
    const shown = names.length > 5 ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} more` : names.join(', ');
    return [`${answered.length} ${answered.length + missing.length} ${shown}`];
  },
  present: () => state().answered.map(({ machine, node }) => `${machineName(machine)}: ${node.ec2InstanceId}`),
  missing: () => {
    const states = unitStates(read(values.states), values.unit);
    return state().missing.map(({ machine, reason }) => {
      const units = states.get(machine.id) ?? `fleet knows no state of ${values.unit.join(' or ')} there`;
      return `${machineName(machine)}: ${reason}; ${units}`;
    });
  },
  doubts: () => doubts(state(), { cluster: values.cluster || null, region: values.region || null }),
};

const run = COMMANDS[command];
if (!run) throw new Error(`no such command: ${command}`);
for (const line of run()) process.stdout.write(`${line}\n`);
