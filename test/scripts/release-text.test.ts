import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { compareVersions, refusal, releasedChangelog, withRepository, withVersion } from '../../scripts/lib/release.ts';

const ROOT = new URL('../../', import.meta.url);
const CHANGELOG = '# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A thing.\n\n## [0.1.0]\n\n- The first.\n';

test('versions are ordered as semver.org has it', () => {
  const ascending = [
    '0.9.9',
    '0.10.0',
    '1.0.0-alpha',
    '1.0.0-alpha.1',
    '1.0.0-alpha.beta',
    '1.0.0-beta',
    '1.0.0-beta.2',
    '1.0.0-beta.11',
    '1.0.0-rc.1',
    '1.0.0',
    '1.0.1',
  ];
  for (const [index, version] of ascending.entries()) {
    for (const [other, than] of ascending.entries()) {
      assert.equal(Math.sign(compareVersions(version, than)), Math.sign(index - other), `${version} and ${than}`);
    }
  }
});

test('what is no version, does not come after the last or has no text of its own is refused', () => {
  const cases: readonly [version: string, changelog: string, reason: RegExp | null][] = [
    ['0.2.0', CHANGELOG, null],
    ['1.0.0-rc.1', CHANGELOG, null],
    ['v0.2.0', CHANGELOG, /^"v0\.2\.0" is not a version: write MAJOR\.MINOR\.PATCH/],
    ['0.2', CHANGELOG, /is not a version/],
    ['0.02.0', CHANGELOG, /is not a version/],
    ['0.2.0+build', CHANGELOG, /is not a version/],
    ['0.1.0', CHANGELOG, /^0\.1\.0 does not come after 0\.1\.0 of package\.json$/],
    ['0.1.0-rc.1', CHANGELOG, /does not come after/],
    ['0.2.0', CHANGELOG.replace('## [Unreleased]\n', ''), /has no section "## \[Unreleased\]"/],
    ['0.2.0', CHANGELOG.replace('- A thing.\n', ''), /has nothing below "## \[Unreleased\]"/],
    ['0.2.0', `${CHANGELOG}\n## [0.2.0]\n`, /has a section 0\.2\.0 already/],
  ];
  for (const [version, changelog, reason] of cases) {
    const told = refusal(version, '0.1.0', changelog);
    if (reason === null) assert.equal(told, null);
    else assert.match(told ?? '', reason);
  }
});

test('the unreleased section gets version and date, and an empty one stands above it', () => {
  assert.equal(
    releasedChangelog(CHANGELOG, '0.2.0', '2026-12-01'),
    CHANGELOG.replace('## [Unreleased]\n', '## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n'),
  );
});

test('the version is set as npm sets it: in both places of the lock file, and nothing else changes', async () => {
  for (const [file, places] of [
    ['package.json', 1],
    ['package-lock.json', 2],
  ] as const) {
    const text = await readFile(new URL(file, ROOT), 'utf8');
    const { version } = JSON.parse(text);
    const changed = withVersion(text, '9.8.7');
    assert.equal(changed.split('"9.8.7"').length - 1, places, file);
    assert.equal(changed.replaceAll('"9.8.7"', `"${version}"`), text, file);
  }
});

test('the repository of a release is the git remote, without anybody’s password', () => {
  const repositoryOf = (remote: string) => JSON.parse(withRepository('{"repository":"before"}', remote)).repository;
  for (const [remote, url] of [
    ['https://git.example/team/rollcall.git', 'git+https://git.example/team/rollcall.git'],
    ['https://user:secret@git.example/team/rollcall', 'git+https://git.example/team/rollcall.git'],
    ['git@git.example:team/rollcall.git', 'git+ssh://git@git.example/team/rollcall.git'],
    ['ssh://git@git.example:2222/team/rollcall/', 'git+ssh://git@git.example:2222/team/rollcall.git'],
  ] as const) {
    assert.deepEqual(repositoryOf(remote), { type: 'git', url }, remote);
  }
  for (const remote of ['', '/srv/rollcall.git', '../rollcall', 'file:///srv/rollcall.git', 'C:/rollcall']) {
    assert.equal(repositoryOf(remote), 'before', remote);
  }
});
