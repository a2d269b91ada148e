import type { Command, Option } from 'commander';
import { UsageError } from '../lib/errors.ts';

/** Marks a flag that may be repeated: its parser adds each value to those before it. */
export function repeatable(option: Option): Option {
  REPEATABLE.add(option);
  return option;
}

const REPEATABLE = new WeakSet<Option>();

/**
 * Refuses a flag that would be ignored: one that is repeated although it takes one value, and one that the others leave
 * without an effect. Only on the command line: variables may stay set for other commands.
 */
export function refuseFlagsWithoutEffect(command: Command): void {
  for (const option of command.options) {
    if (option.isBoolean() || option.negate || REPEATABLE.has(option)) continue;
    let given = 0;
    command.on(`option:${option.name()}`, () => {
      given += 1;
      if (given > 1) throw new UsageError(`${option.long} is given twice; give it once`);
    });
  }
  command.hook('preAction', () => {
    const others = OTHER_MEANING[command.name()] ?? [];
    // Once: commander makes a name anew each time it is asked for it, and there are thousands of pairs.
    const options = new Map(command.options.map((option) => [option.attributeName(), option]));
    for (const { flags, noEffect } of [...RULES, ...(COMMAND_RULES[command.name()] ?? [])]) {
      const given = flags.find((name) => !others.includes(name) && command.getOptionValueSource(name) === 'cli');
      const option = given === undefined ? undefined : options.get(given);
      const reason = option && noEffect((name) => givenValue(command, name, options.get(name)));
      if (option && reason) throw new UsageError(`${option.long} has no effect ${reason}; leave it out`);
    }
  });
}

/** One flag's value, with how it was given; `value` is undefined where the command has no such flag or it is not set. */
interface Given {
  readonly value: unknown;
  /** `-o json`, or `ROLLCALL_OUTPUT=json`. */
  readonly text: string;
}

interface Rule {
  /** By their names in the parsed flags. */
  readonly flags: readonly string[];
  /** Why they have no effect, as in "… has no effect with -o json"; null: they have one. */
  readonly noEffect: (given: (name: string) => Given) => string | null;
}

const without =
  (name: string, long: string): Rule['noEffect'] =>
  (given) =>
    given(name).value === undefined || given(name).value === false ? `without ${long}` : null;

const inJson =
  (lacking: string): Rule['noEffect'] =>
  (given) => {
    const { value, text } = given('output');
    if (value === 'name') return `with ${text}, which prints the ids alone`;
    return value === 'json' || value === 'ndjson' ? `with ${text}, which has no ${lacking}` : null;
  };

/** For each command that has one of the flags. */
export const RULES: readonly Rule[] = [
  { flags: ['presence'], noEffect: (given) => (given('all').value === true ? `with ${given('all').text}` : null) },
  {
    flags: ['etcdCaFile', 'etcdCertFile', 'etcdKeyFile', 'etcdUser', 'etcdPasswordFile', 'etcdPassword', 'timeout'],
    noEffect: (given) => {
      const { value, text } = given('agent');
      return value === undefined ? null : `with ${text}, which is asked instead of the store`;
    },
  },
  {
    flags: ['agentTokenFile', 'agentCaFile', 'agentCertFile', 'agentKeyFile'],
    noEffect: without('agent', '--agent'),
  },
  {
    flags: ['agentCaFile', 'agentCertFile', 'agentKeyFile'],
    noEffect: (given) => {
      const { value, text } = given('agent');
      return /^http:/i.test(String(value)) ? `with ${text}, which is not https` : null;
    },
  },
  { flags: ['fields'], noEffect: inJson('columns') },
  { flags: ['legend'], noEffect: inJson('header line') },
  {
    flags: ['massLossCount', 'hold'],
    // An agent has limits of its own.
    noEffect: (given) =>
      given('massLossShare').value === 'off' && given('agent').value === undefined
        ? `with ${given('massLossShare').text}`
        : null,
  },
  {
    flags: ['timeout'],
    noEffect: (given) => {
      const { value, text } = given('store');
      const isEtcd = typeof value !== 'string' || /^etcds?:/.test(value);
      return isEtcd || given('source').value === 'ecs' ? null : `with ${text}, which is not etcd`;
    },
  },
  { flags: ['listenKeyFile', 'listenClientCaFile'], noEffect: without('listenCertFile', '--listen-cert-file') },
  { flags: ['execTimeout', 'execRetries'], noEffect: without('exec', '--exec') },
  { flags: ['httpTimeout', 'httpRetries', 'httpSecretFile'], noEffect: without('http', '--http') },
  { flags: ['diskWarning', 'diskCritical'], noEffect: without('disk', '--disk') },
  { flags: ['auditClusters'], noEffect: without('auditInterval', '--audit-interval') },
  { flags: ['drainMaxShare'], noEffect: without('drainOn', '--drain-on') },
  {
    flags: ['drainCriticalAfter'],
    noEffect: (given) => {
      const causes = given('drainOn').value;
      return Array.isArray(causes) && causes.includes('critical') ? null : 'without --drain-on critical';
    },
  },
  {
    flags: ['ssmRegistrationFile'],
    noEffect: (given) => (given('identity').value === 'ssm' ? null : 'without --identity ssm'),
  },
  {
    flags: ['metadataEndpoint', 'allowImdsV1', 'noticeInterval'],
    noEffect: (given) => {
      const { value, text } = given('identity');
      return value === undefined || value === 'ec2' ? null : `with ${text}: such a node has no EC2 metadata`;
    },
  },
];

/** Flags that mean something else in one command than in the rules for all. */
const OTHER_MEANING: Readonly<Record<string, readonly string[]>> = {
  wait: ['timeout'],
  drain: ['drainMaxShare'],
};

/** An agent that is asked for events or the status judges by limits of its own. */
const ITS_OWN_LIMITS: Rule = {
  flags: ['massLossShare', 'massLossCount'],
  noEffect: (given) =>
    given('agent').value === undefined ? null : `with ${given('agent').text}, which has its own limits`,
};

/** Rules for one command only, where the same flag has an effect in others. */
export const COMMAND_RULES: Readonly<Record<string, readonly Rule[]>> = {
  agent: [
    {
      flags: ['region', 'profile'],
      noEffect: (given) =>
        ['auditInterval', 'ecsAttributes', 'drainOn'].some((name) => given(name).value)
          ? null
          : 'without --audit-interval, --ecs-attributes or --drain-on: only these use the ECS API',
    },
  ],
  status: [ITS_OWN_LIMITS],
  watch: [
    ITS_OWN_LIMITS,
    {
      flags: ['output'],
      noEffect: (given) => {
        const sender = ['exec', 'http'].find((name) => given(name).value !== undefined);
        return sender === undefined ? null : `with ${given(sender).text}, which prints nothing`;
      },
    },
  ],
  dns: [
    {
      flags: ['srv', 'ttl'],
      noEffect: (given) => (given('format').value === 'hosts' ? 'with --format hosts, which has names alone' : null),
    },
    { flags: ['massLossShare', 'massLossCount'], noEffect: without('file', '--file') },
  ],
  simulate: [
    {
      flags: ['store', 'etcdCaFile', 'etcdCertFile', 'etcdKeyFile', 'etcdUser', 'etcdPasswordFile', 'etcdPassword'],
      noEffect: without('agents', '--agents'),
    },
  ],
};

function givenValue(command: Command, name: string, option: Option | undefined): Given {
  const value: unknown = command.getOptionValue(name);
  return { value, text: option ? givenText(command, option, String(value)) : name };
}

function givenText(command: Command, option: Option, value: string): string {
  const source = command.getOptionValueSource(option.attributeName());
  if (source === 'env') return `${option.envVar}=${value}`;
  const name = option.short ?? option.long;
  return option.isBoolean() ? `${name}` : `${name} ${value}`;
}
