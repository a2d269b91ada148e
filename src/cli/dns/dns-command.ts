import { Command, InvalidArgumentError, Option } from 'commander';
import { type FilterFlags, filterOptions } from '../../config/filter-flags.ts';
import { durationBetween, isLogged, logLevelOption, nonEmpty } from '../../config/flags.ts';
import { repeatable } from '../../config/flags-without-effect.ts';
import { type MassLossFlags, massLossLimits, massLossOptions } from '../../config/mass-loss-flags.ts';
import { readOptions } from '../../config/store-flags.ts';
import { RollcallError, UsageError } from '../../lib/errors.ts';
import { printable } from '../../lib/foreign-text.ts';
import { describeUnmatched, filterRoll, parseFilter } from '../../record/filter.ts';
import { describeRefused, describeSkipped } from '../../record/flaws.ts';
import type { Roll } from '../../record/roll.ts';
import { lostDataNote, massLossNote } from '../../registry/mass-loss.ts';
import { type CliContext, type ReadFlags, warn } from '../context.ts';
import { withRoll } from '../roll-reader.ts';
import { openDnsFile, type RenderDns } from './dns-file.ts';
import { type DnsNames, dnsNames, isDnsLabel, nextSerial, renderHosts, renderZone, serialOf } from './dns-names.ts';
import { keepCurrent } from './keep-current.ts';

interface DnsFlags extends ReadFlags, FilterFlags, MassLossFlags {
  readonly format: 'hosts' | 'zone';
  readonly zone: string;
  readonly byLabel: readonly string[];
  readonly srv: readonly { readonly name: string; readonly port: number }[];
  /** Milliseconds. */
  readonly ttl: number;
  readonly file?: string;
  readonly watch: boolean;
}

const HELP = `
Names of present, passing nodes, unless the filters say otherwise: each by its
instance id, with --by-label role by its label (web.role.rollcall.internal is
every node with role=web), with --srv http=8080 as _http._tcp, also below each
name by label. A label that is no DNS name is left out and named.

With --watch the file follows the roll: it is replaced atomically, not at all
while no name changes, and the serial of a zone rises only with a change. While
the store or the agent is away, and while many nodes vanished at once and may
return, it stays as it is. A file with names is never emptied.

Examples:
  rollcall dns --agent http://10.113.0.22:51690
  rollcall dns --format zone --by-label role --srv node-exporter=9100
  rollcall dns --watch --file /etc/coredns/rollcall.hosts
  rollcall dns --watch --format zone --file /etc/coredns/rollcall.zone`;

export function dnsCommand(context: CliContext): Command {
  const command = new Command('dns')
    .description('Print the nodes as a hosts file or a DNS zone, or keep such a file current.')
    .addOption(
      new Option('--format <name>', 'hosts: as /etc/hosts; zone: a zone file of RFC 1035')
        .env('ROLLCALL_FORMAT')
        .default('hosts')
        .choices(['hosts', 'zone']),
    )
    .addOption(
      new Option('--zone <name>', 'domain of all names')
        .env('ROLLCALL_ZONE')
        .default('rollcall.internal')
        .argParser(domain),
    )
    .addOption(
      repeatable(
        new Option('--by-label <keys>', 'also a name VALUE.KEY for these labels; repeatable, or comma-separated')
          .env('ROLLCALL_BY_LABEL')
          .default([], 'none')
          .argParser(labelKeys),
      ),
    )
    .addOption(
      repeatable(
        new Option('--srv <name=port>', 'SRV records for a port of each node; repeatable, or comma-separated')
          .env('ROLLCALL_SRV')
          .default([], 'none')
          .argParser(servicePorts),
      ),
    )
    .addOption(
      new Option('--ttl <duration>', 'how long an answer from the zone may be kept')
        .env('ROLLCALL_TTL')
        .default(30_000, '30s')
        .argParser(durationBetween(1_000, 86_400_000, 's')),
    )
    .addOption(
      new Option('--file <path>', 'write this file instead of stdout').env('ROLLCALL_FILE').argParser(nonEmpty),
    )
    .addOption(new Option('--watch', 'keep the file current, until Ctrl-C').env('ROLLCALL_WATCH').default(false))
    .addHelpText('after', HELP);
  const more = [...filterOptions(), ...massLossOptions('names'), ...readOptions(), logLevelOption()];
  for (const option of more) command.addOption(option);
  return command.action(async (flags: DnsFlags) => {
    const { file, watch } = flags;
    if (file === undefined) {
      if (watch) throw new UsageError('--watch needs --file: the file to keep current');
      await context.stdout(rendererOf(context, flags)(await askForNames(context, flags, () => {}), ''));
      return;
    }
    const opened = await openDnsFile(file, rendererOf(context, flags));
    try {
      if (watch) return await keepCurrent(context, flags, opened, (roll) => namesOf(flags, roll));
      const refuseLosses = ({ entries, stale }: Roll) => {
        if (!opened.hadNames) return;
        const stays = `${file} stays as it is`;
        if (stale) throw new RollcallError(`${stays}: the agent cannot read the store at present; ask another agent`);
        const limits = massLossLimits(flags);
        const note = massLossNote(entries, limits, true) ?? lostDataNote(opened.instanceIds(), entries, limits);
        if (note === null) return;
        throw new RollcallError(`${stays}: ${note}; or set --mass-loss-share off`);
      };
      const outcome = await opened.update(await askForNames(context, flags, refuseLosses));
      if (outcome === 'kept') throw new RollcallError(`${file} stays as it is: no node matches, and it has names`);
    } finally {
      opened.release();
    }
  });
}

async function askForNames(context: CliContext, flags: DnsFlags, check: (roll: Roll) => void): Promise<DnsNames> {
  const roll = await withRoll(context, flags, 'dns', (reader, signal) => reader.read(signal));
  warn(context, flags, describeSkipped(roll.skipped));
  warn(context, flags, [...describeRefused(roll.entries), ...(roll.notes ?? [])]);
  check(roll);
  const { names, notes } = namesOf(flags, roll);
  if (isLogged(flags.logLevel, 'warn')) for (const note of notes) context.stderr(note);
  return names;
}

/** More lines would push the others off the screen. */
const MAX_LEFT_OUT = 5;

/** The names of the nodes that the filters choose; `notes`: lines about what has none. */
function namesOf(
  flags: DnsFlags,
  { entries }: Pick<Roll, 'entries'>,
): { readonly names: DnsNames; readonly notes: readonly string[] } {
  const filter = parseFilter({ presence: ['present'], health: ['passing'], ...flags });
  const names = dnsNames(filterRoll(entries, filter), settingsOf(flags));
  const { leftOut } = names;
  const lines = leftOut.slice(0, MAX_LEFT_OUT).map((line) => printable(`warning: left out: ${line}`));
  const more = leftOut.length - lines.length;
  const named = flags.byLabel.map((key) => ({ kind: 'exists', key }) as const);
  const asked = { ...filter, selector: [...(filter.selector ?? []), ...named] };
  const unmatched = describeUnmatched(entries, asked).map((note) => `note: ${note}`);
  return { names, notes: [...lines, ...(more > 0 ? [`warning: left out: ${more} more names`] : []), ...unmatched] };
}

function settingsOf({ zone, byLabel, srv, ttl }: DnsFlags) {
  return { zone, byLabel, services: srv, ttlSeconds: ttl / 1_000 };
}

function rendererOf({ clock }: CliContext, flags: DnsFlags): RenderDns {
  const settings = settingsOf(flags);
  if (flags.format === 'hosts') return (names) => renderHosts(names, settings);
  return (names, last) => {
    const serial = serialOf(last);
    const same = serial === null ? null : renderZone(names, settings, serial);
    return same === last ? same : renderZone(names, settings, nextSerial(serial, Math.floor(clock.wallMs() / 1_000)));
  };
}

const MAX_DOMAIN = 128;

function domain(text: string): string {
  const name = text.replace(/\.$/, '').toLowerCase();
  if (name.length > MAX_DOMAIN || !name.split('.').every(isDnsLabel)) {
    throw new InvalidArgumentError(
      `Write a domain of letters, digits, dashes and dots, up to ${MAX_DOMAIN} characters.`,
    );
  }
  return name;
}

function labelKeys(text: string, previous: readonly string[] = []): readonly string[] {
  const keys = text.split(',').map((key) => key.trim());
  const wrong = keys.find((key) => !isDnsLabel(key));
  if (wrong !== undefined) {
    throw new InvalidArgumentError('A key in a name has up to 63 of a-z 0-9 and inner dashes.');
  }
  return [...new Set([...previous, ...keys])];
}

/** Service names as in RFC 6335. */
function servicePorts(text: string, previous: DnsFlags['srv'] = []): DnsFlags['srv'] {
  const added = text.split(',').map((pair) => {
    const [, name = '', digits = ''] = /^([a-z0-9-]{1,15})=(\d{1,5})$/.exec(pair.trim()) ?? [];
    const port = Number(digits);
    if (!isDnsLabel(name) || port < 1 || port > 65_535) {
      throw new InvalidArgumentError(
        'Write NAME=PORT, such as http=8080; the name has up to 15 of a-z 0-9 and dashes.',
      );
    }
    return { name, port };
  });
  return [...previous, ...added];
}
