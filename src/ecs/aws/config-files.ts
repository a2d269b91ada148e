import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { describeError, quote } from '../../lib/errors.ts';
import { CredentialError } from './call.ts';

export type Environment = Readonly<Record<string, string | undefined>>;
export type Settings = Readonly<Record<string, string | undefined>>;

/** The parsed configuration files of the AWS tools, each by profile. */
export interface SharedFiles {
  readonly configFile: Readonly<Record<string, Settings>>;
  readonly credentialsFile: Readonly<Record<string, Settings>>;
  /** The sections `[services NAME]` by name; their settings are nested: `ecs.endpoint_url`. */
  readonly services: Readonly<Record<string, Settings>>;
  /** The sections `[sso-session NAME]` by name. */
  readonly ssoSessions: Readonly<Record<string, Settings>>;
  /** Their paths, for messages. */
  readonly paths: readonly [config: string, credentials: string];
}

const HELP =
  'correct that file, as the aws CLI refuses it too; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name others';
/** The aws CLI takes such a line for something else than its writer meant, and asks as another identity. */
const DOUBT_HELP = 'correct that line, or use another profile';

/**
 * Reads both files. One that does not exist has no profile; any other failure is an error, because a profile that is not
 * seen would leave the credentials to the role of the instance.
 * @throws CredentialError
 */
export async function readConfigFiles(env: Environment): Promise<SharedFiles> {
  const paths = [
    settingsPath(env['AWS_CONFIG_FILE'] || '~/.aws/config', env),
    settingsPath(env['AWS_SHARED_CREDENTIALS_FILE'] || '~/.aws/credentials', env),
  ] as const;
  const [config, credentials] = await Promise.all(paths.map(readText));
  const sections = parseIni(config ?? '', paths[0]);
  return {
    configFile: profilesOf(sections, nameInConfig),
    services: profilesOf(sections, (section) => nameOfKind('services', section)),
    ssoSessions: profilesOf(sections, (section) => nameOfKind('sso-session', section)),
    credentialsFile: profilesOf(parseIni(credentials ?? '', paths[1]), (section) => section),
    paths,
  };
}

/** The aws CLI expands variables and `~` as a shell does; a variable in a unit has not been through a shell. */
function settingsPath(path: string, env: Environment): string {
  return path
    .replace(/\$(?:(\w+)|\{(\w+)\})/g, (text, bare: string | undefined, braced) => env[bare ?? braced] ?? text)
    .replace(/^~(?=\/)/, () => homedir());
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    // With /dev/null for a home, as service users have, the path is none.
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw new CredentialError(`cannot read ${path}: ${describeError(error)}`, 'make it a file that this user can read');
  }
}

/** `[default]`, `[profile NAME]` or `[profile "NAME"]`; other sections, such as `[sso-session NAME]`, are no profiles. */
function nameInConfig(section: string): string | undefined {
  return section === 'default' ? section : nameOfKind('profile', section);
}

function nameOfKind(kind: 'profile' | 'services' | 'sso-session', section: string): string | undefined {
  return new RegExp(`^${kind}\\s+(["']?)(.+)\\1$`).exec(section)?.[2];
}

/** To read a profile with a doubtful line throws: those of other profiles do not matter. */
function profilesOf(
  sections: ReadonlyMap<string, Section>,
  nameOf: (section: string) => string | undefined,
): Record<string, Settings> {
  const profiles = {};
  for (const [section, { settings, doubt }] of sections) {
    const name = nameOf(section);
    if (name === undefined) continue;
    const get = () => {
      if (doubt) throw doubt;
      return settings;
    };
    Object.defineProperty(profiles, name, { enumerable: true, configurable: true, get });
  }
  return profiles;
}

interface Section {
  readonly settings: Settings;
  /** A line that may not mean to the aws CLI what it meant to its writer. */
  readonly doubt: CredentialError | null;
}

/**
 * The sections of a file of settings, as the aws CLI reads it (Python's configparser): `NAME = VALUE` or `NAME: VALUE`, names
 * in any case, an empty value kept, a line that is indented deeper than its setting belongs to that setting. Stricter in
 * two: such a line below a value, and a blank in a name, are doubtful, since a setting may be lost in them. The SDK's own
 * parser drops an empty value and ignores what it does not understand; then a profile that is misspelt has no
 * credentials of its own, and the role of the instance would sign.
 * @param path for messages
 * @throws CredentialError
 */
export function parseIni(text: string, path: string): ReadonlyMap<string, Section> {
  const sections = new Map<string, Section>();
  let section: { settings: Record<string, string>; doubt: CredentialError | null } | null = null;
  let last: { readonly name: string; readonly indent: number } | null = null;
  for (const [index, raw] of text
    .replace(/^\ufeff/, '')
    .split(/\r?\n|\r/)
    .entries()) {
    const line = raw.trim();
    if (line === '' || /^[#;]/.test(line)) continue;
    const refusal = (why: string, help = HELP) => new CredentialError(`line ${index + 1} of ${path} ${why}`, help);
    const indent = raw.length - raw.trimStart().length;
    if (section && last && indent > last.indent) {
      const { name } = last;
      // Nested settings, such as those of s3 or of a service.
      if (section.settings[name] === '') {
        const [, key = '', value = ''] = /^([^=]+?)\s*=(.*)$/.exec(line) ?? [];
        if (key === '') section.doubt ??= refusal(`belongs to ${quote(name)} and is not NAME = VALUE`, DOUBT_HELP);
        else section.settings[`${name}.${key}`] = withoutComment(key, value.trim());
      } else if (name === COMMAND) section.settings[name] += `\n${line}`;
      else section.doubt ??= refusal(`is indented, which makes it a part of ${quote(name)} above it`, DOUBT_HELP);
      continue;
    }
    const header = /^\[(.+)\]/.exec(line)?.[1]?.trim();
    if (header !== undefined) {
      if (sections.has(header)) throw refusal(`begins the section ${quote(header)} for a second time`);
      section = { settings: {}, doubt: null };
      last = null;
      sections.set(header, section);
      continue;
    }
    const [, key, value] = /^([^=:]+?)\s*[=:](.*)$/.exec(line) ?? [];
    // Not the line itself: it may be a secret.
    if (key === undefined || value === undefined) throw refusal('is neither [SECTION] nor NAME = VALUE');
    if (section === null) throw refusal('is before the first [SECTION]');
    if (/\s/.test(key)) section.doubt ??= refusal('has a blank in the name of its setting', DOUBT_HELP);
    const name = key.toLowerCase();
    if (Object.hasOwn(section.settings, name)) throw refusal(`sets ${quote(name)} for a second time`);
    last = { name, indent };
    section.settings[name] = withoutComment(name, value.trim());
  }
  return sections;
}

const COMMAND = 'credential_process';

/** As the SDKs do, where the aws CLI keeps the comment; never inside a command. */
function withoutComment(name: string, value: string): string {
  return name === COMMAND ? value : value.replace(/(^|\s)[#;].*$/, '').trim();
}
