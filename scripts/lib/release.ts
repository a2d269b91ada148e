/**
 * The texts of a release: `release.ts check VERSION` says in one line why it cannot be released, `release.ts write VERSION
 * DATE [REMOTE]` sets the version in package.json and its lock file, and the repository to the git remote, gives the
 * changelog's unreleased section that version and date, and puts the version into the docker commands of the docs. In the
 * folder it is run in.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const UNRELEASED = '## [Unreleased]\n';

/** https://semver.org/, without build metadata: an image's tag cannot have any. */
const SEMVER =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][\dA-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][\dA-Za-z-]*))*))?$/;

interface Version {
  readonly numbers: readonly number[];
  readonly prerelease: readonly string[];
}

function parseVersion(text: string): Version {
  const parts = SEMVER.exec(text);
  if (!parts) throw new Error(`"${text}" is not a version: MAJOR.MINOR.PATCH, or with -PRERELEASE behind it`);
  return { numbers: parts.slice(1, 4).map(Number), prerelease: parts[4]?.split('.') ?? [] };
}

/**
 * The precedence of semver: negative when `a` comes before `b`, 0 when they are equal.
 * @throws Error when one is no version
 */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parseVersion(a), parseVersion(b)];
  for (const [index, number] of left.numbers.entries()) {
    const difference = number - (right.numbers[index] ?? 0);
    if (difference !== 0) return difference;
  }
  if (left.prerelease.length === 0 || right.prerelease.length === 0) {
    return right.prerelease.length - left.prerelease.length; // one with a prerelease comes before the same without
  }
  for (const [index, identifier] of left.prerelease.entries()) {
    const difference = compareIdentifiers(identifier, right.prerelease[index]);
    if (difference !== 0) return difference;
  }
  return left.prerelease.length - right.prerelease.length;
}

/** Numbers by value and before words, words by their characters, and what is missing before all. */
function compareIdentifiers(a: string, b: string | undefined): number {
  if (b === undefined) return 1;
  const numeric = [a, b].map((identifier) => /^\d+$/.test(identifier));
  if (numeric[0] && numeric[1]) return Number(a) - Number(b);
  if (numeric[0] !== numeric[1]) return numeric[0] ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What stands in the changelog below "Unreleased", up to the next version; `null` when there is no such section. */
function unreleased(changelog: string): string | null {
  const start = changelog.indexOf(UNRELEASED);
  if (start < 0) return null;
  return changelog.slice(start + UNRELEASED.length).split(/^## /m)[0] ?? '';
}

/** Why `version` cannot follow `current`; `null` when it can. */
export function refusal(version: string, current: string, changelog: string): string | null {
  if (!SEMVER.test(version)) return `"${version}" is not a version: write MAJOR.MINOR.PATCH, as 1.2.0 or 1.2.0-rc.1`;
  if (compareVersions(version, current) <= 0) return `${version} does not come after ${current} of package.json`;
  const section = unreleased(changelog);
  if (section === null) return 'CHANGELOG.md has no section "## [Unreleased]": write one with what is new';
  if (!/^- /m.test(section)) return 'CHANGELOG.md has nothing below "## [Unreleased]": write what is new for a user';
  if (changelog.includes(`## [${version}]`)) return `CHANGELOG.md has a section ${version} already`;
  return null;
}

/** The changelog with its unreleased section as that version's, and an empty one above it. */
export function releasedChangelog(changelog: string, version: string, date: string): string {
  return changelog.replace(UNRELEASED, () => `${UNRELEASED}\n## [${version}] - ${date}\n`);
}

/** The text of a package.json or of its lock file, written as npm writes it, with that version. */
export function withVersion(json: string, version: string): string {
  const content = JSON.parse(json);
  content.version = version;
  const root = content.packages?.[''];
  if (root) root.version = version;
  return `${JSON.stringify(content, null, 2)}\n`;
}

/**
 * package.json's text with the repository of this git remote, without a user's password; as it is for a remote that others
 * cannot reach, such as a folder.
 */
export function withRepository(json: string, remote: string): string {
  const [, host, path] = /^(?:[^@/\s]+@)?([^:/\s]+\.[^:/\s]+):(?!\/\/)([^\s]+)$/.exec(remote) ?? [];
  const text = host === undefined ? remote : `ssh://git@${host}/${path}`;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || !/^(https|ssh|git):$/.test(url.protocol)) return json;
  if (url.protocol === 'https:') url.username = '';
  url.password = '';
  const content = JSON.parse(json);
  content.repository = { type: 'git', url: `git+${url.href.replace(/(\.git)?\/?$/, '.git')}` };
  return `${JSON.stringify(content, null, 2)}\n`;
}

function main([action, version = '', date = '', remote = '']: readonly string[]): void {
  const { version: current } = JSON.parse(readFileSync('package.json', 'utf8'));
  const changelog = readFileSync('CHANGELOG.md', 'utf8');
  const reason = refusal(version, current, changelog);
  if (reason !== null) {
    process.stdout.write(`${reason}\n`);
    process.exitCode = 1;
    return;
  }
  if (action !== 'write') return;
  const edit = (file: string, change: (text: string) => string) =>
    writeFileSync(file, change(readFileSync(file, 'utf8')));
  for (const file of ['package.json', 'package-lock.json']) edit(file, (text) => withVersion(text, version));
  edit('package.json', (text) => withRepository(text, remote));
  edit('CHANGELOG.md', (text) => releasedChangelog(text, version, date));
  for (const page of ['README.md', ...readdirSync('docs').map((name) => `docs/${name}`)]) {
    if (page.endsWith('.md'))
      edit(page, (text) => text.replaceAll(`/rollcall:${current}`, () => `/rollcall:${version}`));
  }
}

if (import.meta.main) main(process.argv.slice(2));
