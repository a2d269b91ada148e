import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { AgentAccess } from '../lib/agent-access.ts';
import { describeError, UsageError } from '../lib/errors.ts';
import { parseStoreUrl, type StoreConfig } from '../store/store-url.ts';
import { durationBetween, httpOrigin } from './flags.ts';

/** The store without --store: for this machine only. */
const DEFAULT_STORE = 'sqlite:/var/lib/rollcall/roll.db';

/** The flags of every command that uses a store. */
export function storeOptions(): Option[] {
  return [
    new Option('--store <url>', 'etcd://HOST:2379[,HOST…][/PREFIX], etcds://… or sqlite:PATH')
      .env('ROLLCALL_STORE')
      .default(DEFAULT_STORE),
    new Option('--etcd-ca-file <path>', 'PEM file of the CA that signed etcd’s certificate').env(
      'ROLLCALL_ETCD_CA_FILE',
    ),
    new Option('--etcd-cert-file <path>', 'PEM file of rollcall’s client certificate').env('ROLLCALL_ETCD_CERT_FILE'),
    new Option('--etcd-key-file <path>', 'PEM file of the client certificate’s key').env('ROLLCALL_ETCD_KEY_FILE'),
    new Option('--etcd-user <name>', 'etcd user').env('ROLLCALL_ETCD_USER'),
    new Option('--etcd-password-file <path>', 'file with the etcd user’s password').env('ROLLCALL_ETCD_PASSWORD_FILE'),
    // A flag is visible in every process list: this one is meant to be set by its variable.
    new Option('--etcd-password <text>', 'the password itself; prefer the file or the variable')
      .env('ROLLCALL_ETCD_PASSWORD')
      .hideHelp(),
  ];
}

/** The flags of a command that reads the roll, from the store or from an agent, and ends. */
export function readOptions(): Option[] {
  return [...agentReadOptions(), ...storeOptions(), timeoutOption()];
}

/** Which agent is read, and how a command gets into one that is not open to everyone. */
export function agentReadOptions(): Option[] {
  return [
    new Option('--agent <url>', 'read from the HTTP port of this agent instead of the store: http://HOST:51690')
      .env('ROLLCALL_AGENT')
      .argParser(httpOrigin('http://127.0.0.1:51690')),
    new Option('--agent-token-file <path>', 'file with the token that the agent asks for').env(
      'ROLLCALL_AGENT_TOKEN_FILE',
    ),
    new Option('--agent-ca-file <path>', 'PEM file of the CA that signed the agent’s certificate').env(
      'ROLLCALL_AGENT_CA_FILE',
    ),
    new Option('--agent-cert-file <path>', 'PEM file of our client certificate for the agent').env(
      'ROLLCALL_AGENT_CERT_FILE',
    ),
    new Option('--agent-key-file <path>', 'PEM file of that certificate’s key').env('ROLLCALL_AGENT_KEY_FILE'),
  ];
}

export interface AgentAccessFlags {
  readonly agentTokenFile?: string;
  readonly agentCaFile?: string;
  readonly agentCertFile?: string;
  readonly agentKeyFile?: string;
}

/** @throws UsageError */
export function agentAccess(flags: AgentAccessFlags): AgentAccess {
  const { agentTokenFile = null, agentCaFile = null, agentCertFile = null, agentKeyFile = null } = flags;
  if ((agentCertFile === null) !== (agentKeyFile === null)) {
    throw new UsageError('one of --agent-cert-file and --agent-key-file is missing; set both');
  }
  return {
    ...{ caFile: agentCaFile, certFile: agentCertFile, keyFile: agentKeyFile },
    ...{ token: null, tokenFile: agentTokenFile },
  };
}

/** Makes a flag outrank the variable of the other: --store that of --agent. A variable of --agent outranks one of --store. */
export function chooseSource(command: Command): void {
  if (!command.options.some((option) => option.attributeName() === 'agent')) return;
  command.hook('preAction', () => {
    const [agent, store] = ['agent', 'store'].map((name) => command.getOptionValueSource(name));
    if (agent === 'cli' && store === 'cli')
      throw new UsageError('--agent and --store exclude each other; remove one of them');
    if (store === 'cli') command.setOptionValue('agent', undefined);
  });
}

/** For the commands that read etcd, but for the agent, whose limits follow from its TTL, and `wait`, which has another flag of that name. */
export function timeoutOption(): Option {
  return new Option('--timeout <duration>', 'how long a call to etcd may take, over all its endpoints; default: 2.5s')
    .env('ROLLCALL_TIMEOUT')
    .argParser(durationBetween(100, 300_000));
}

export interface StoreFlags {
  /** Milliseconds. */
  readonly timeout?: number;
  readonly store: string;
  readonly etcdCaFile?: string;
  readonly etcdCertFile?: string;
  readonly etcdKeyFile?: string;
  readonly etcdUser?: string;
  readonly etcdPasswordFile?: string;
  readonly etcdPassword?: string;
}

/** @throws UsageError */
export function storeConfig(flags: StoreFlags): StoreConfig {
  if (flags.etcdPassword !== undefined && flags.etcdPasswordFile !== undefined) {
    throw new UsageError('the etcd password is given twice, as text and as a file: leave one out');
  }
  const config = parseStoreUrl(flags.store, {
    caFile: flags.etcdCaFile ?? null,
    certFile: flags.etcdCertFile ?? null,
    keyFile: flags.etcdKeyFile ?? null,
    user: flags.etcdUser ?? null,
    password:
      flags.etcdPasswordFile === undefined ? (flags.etcdPassword ?? null) : readPassword(flags.etcdPasswordFile),
  });
  return config.kind === 'etcd' && flags.timeout !== undefined ? { ...config, callTimeoutMs: flags.timeout } : config;
}

function readPassword(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new UsageError(`cannot read the etcd password file ${path}: ${describeError(error)}`);
  }
}

/** The same settings as variables, for a child process. */
export function storeVariables(flags: StoreFlags): Record<string, string> {
  return variablesOf(storeOptions(), flags);
}

/** Where a command reads from, as variables for a child process: the agent or, whatever the environment says, the store. */
export function sourceVariables(flags: StoreFlags & AgentAccessFlags & { readonly agent?: string }) {
  if (flags.agent !== undefined) return variablesOf(agentReadOptions(), flags);
  return { ...storeVariables(flags), ROLLCALL_AGENT: '' };
}

function variablesOf(options: readonly Option[], flags: object): Record<string, string> {
  const values = flags as Readonly<Record<string, string | undefined>>;
  const given = options.map((option) => [option.envVar, values[option.attributeName()]] as const);
  return Object.fromEntries(
    given.filter((pair): pair is [string, string] => pair[0] !== undefined && pair[1] !== undefined),
  );
}
