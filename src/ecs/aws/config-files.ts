import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { describeError, quote } from '../../lib/errors.ts';
import { CredentialError } from './call.ts';

export type Environment = Readonly<Record<string, string | undefined>>;
export type Settings = Readonly<Record<string, string | undefined>>;

/** The parsed configuration files of the AWS tools, each by profile. */
export interface SharedFiles {
  readonly configFile: Readonly<Record<string, Settings>>;
  readonly credentialsFile: Readonly<Record<string, Settings>>;
  /** Their paths, for messages. */
  readonly paths: readonly [config: string, credentials: string];
}

const HELP =
  'correct that file, as the aws CLI refuses it too; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name others';

/**
 * Reads both files. One that does not exist has no profile; any other failure is an error, because a profile that is not
 * seen would leave the credentials to the role of the instance.
 * @throws CredentialError
 */
export async function readConfigFiles(env: Environment): Promise<SharedFiles> {
  const paths = [
    settingsPath(env['AWS_CONFIG_FILE'], '.aws/config'),
    settingsPath(env['AWS_SHARED_CREDENTIALS_FILE'], '.aws/credentials'),
  ] as const;
  const [config, credentials] = await Promise.all(paths.map(readText));
  return {
    configFile: profilesOf(parseIni(config ?? '', paths[0])),
    credentialsFile: Object.fromEntries(parseIni(credentials ?? '', paths[1])),
    paths,
  };
}

/** The aws CLI expands `~` as a shell does; a variable in a unit has not been through a shell. */
function settingsPath(named: string | undefined, usual: string): string {
  return named ? named.replace(/^~(?=\/)/, homedir()) : join(homedir(), usual);
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new CredentialError(`cannot read ${path}: ${describeError(error)}`, 'make it a file that this user can read');
  }
}

/** `[default]`, `[profile NAME]` or `[profile "NAME"]`; other sections, such as `[sso-session NAME]`, are no profiles. */
function profilesOf(sections: ReadonlyMap<string, Settings>): Record<string, Settings> {
  const profiles: [string, Settings][] = [];
  for (const [section, settings] of sections) {
    const name = section === 'default' ? section : /^profile\s+(["']?)(.+)\1$/.exec(section)?.[2];
    if (name !== undefined) profiles.push([name, settings]);
  }
  return Object.fromEntries(profiles);
}

/**
 * The sections of a file of settings, as the aws CLI reads it (Python's configparser): `NAME = VALUE` or `NAME: VALUE`, names
 * in any case, an empty value kept, a line that is indented deeper than its setting belongs to that setting. The SDK's own
 * parser drops an empty value and ignores what it does not understand; then a profile that is misspelt has no
 * credentials of its own, and the role of the instance would sign.
 * @param path for messages
 * @throws CredentialError
 */
export function parseIni(text: string, path: string): ReadonlyMap<string, Settings> {
  const sections = new Map<string, Record<string, string>>();
  let settings: Record<string, string> | null = null;
  let last: { readonly name: string; readonly indent: number } | null = null;
  for (const [index, raw] of text
    .replace(/^\ufeff/, '')
    .split(/\r?\n|\r/)
    .entries()) {
    const line = raw.trim();
    if (line === '' || /^[#;]/.test(line)) continue;
    const refuse = (why: string) => new CredentialError(`line ${index + 1} of ${path} ${why}`, HELP);
    const indent = raw.length - raw.trimStart().length;
    if (settings && last && indent > last.indent) {
      // Nested settings, such as those of s3: none of them is about credentials.
      if (settings[last.name] === '') continue;
      throw refuse(`is indented, which makes it a part of ${quote(last.name)} above it`);
    }
    const header = /^\[(.+)\]/.exec(line)?.[1];
    if (header !== undefined) {
      const section = header.trim();
      if (sections.has(section)) throw refuse(`begins the section ${quote(section)} for a second time`);
      settings = {};
      last = null;
      sections.set(section, settings);
      continue;
    }
    const [, key, value] = /^([^=:\s]+)\s*[=:](.*)$/.exec(line) ?? [];
    // Not the line itself: it may be a secret.
    if (key === undefined || value === undefined) throw refuse('is neither [SECTION] nor NAME = VALUE');
    if (settings === null) throw refuse('is before the first [SECTION]');
    const name = key.trim().toLowerCase();
    if (Object.hasOwn(settings, name)) throw refuse(`sets ${quote(name)} for a second time`);
    last = { name, indent };
    settings[name] = withoutComment(name, value.trim());
  }
  return sections;
}

/** As the SDKs do, and never inside a command. */
function withoutComment(name: string, value: string): string {
  return name === 'credential_process' ? value : value.replace(/(^|\s)[#;].*$/, '').trim();
}
