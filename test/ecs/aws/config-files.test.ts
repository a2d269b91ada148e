import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { CredentialError } from '../../../src/ecs/aws/call.ts';
import { parseIni, readConfigFiles } from '../../../src/ecs/aws/config-files.ts';

function parsed(text: string) {
  const sections = [...parseIni(text, '/c')];
  return Object.fromEntries(sections.map(([name, { settings }]) => [name, settings]));
}

describe('a file of settings is read as the aws CLI reads it', () => {
  const cases: readonly [text: string, expected: Record<string, Record<string, string>>][] = [
    ['', {}],
    ['[o]\nregion = a\n', { o: { region: 'a' } }],
    ['\ufeff[o]\r\nregion=a\r\n\r\nROLE_ARN = x', { o: { region: 'a', role_arn: 'x' } }],
    [
      '[o]\naws_access_key_id: A\naws_secret_access_key: b=c:d\n',
      { o: { aws_access_key_id: 'A', aws_secret_access_key: 'b=c:d' } },
    ],
    [
      `[o]\ncredential_process = echo\n  '{"a": 1}'\n[plugins]\nmy plugin = x\n`,
      { o: { credential_process: `echo\n'{"a": 1}'` }, plugins: { 'my plugin': 'x' } },
    ],
    ['[o]\ncredential_process =\nregion=x\n', { o: { credential_process: '', region: 'x' } }],
    ['[o]\n  region = a\n  role_arn = b\n', { o: { region: 'a', role_arn: 'b' } }],
    [
      '[o]\ns3 =\n  max = 1\n\n  role_arn = 2\nrole_arn = b\n',
      { o: { s3: '', 's3.max': '1', 's3.role_arn': '2', role_arn: 'b' } },
    ],
    ['[o] # prod\n# c\n ; d\nregion=1\n', { o: { region: '1' } }],
    ['[o]\nregion = a # here\n[p]\nregion = a;b\n', { o: { region: 'a' }, p: { region: 'a;b' } }],
    [`[o]\ncredential_process = sh -c 'echo # ; x'\n`, { o: { credential_process: `sh -c 'echo # ; x'` } }],
    ['[__proto__]\nregion = a\n', Object.fromEntries([['__proto__', { region: 'a' }]])],
  ];
  for (const [text, expected] of cases) test(JSON.stringify(text), () => assert.deepEqual(parsed(text), expected));
});

describe('a line that nothing is made of is refused, for a profile without it may be another identity', () => {
  const cases: readonly [text: string, message: string][] = [
    ['[o]\nAKIDSECRET\n', 'line 2 of /c is neither [SECTION] nor NAME = VALUE'],
    ['[o\nregion=1\n', 'line 1 of /c is neither [SECTION] nor NAME = VALUE'],
    ['region=1\n', 'line 1 of /c is before the first [SECTION]'],
    ['[o]\nregion=1\n[o]\nrole_arn=2\n', 'line 3 of /c begins the section "o" for a second time'],
    ['[o]\nregion=1\nRegion=2\n', 'line 3 of /c sets "region" for a second time'],
  ];
  for (const [text, message] of cases) {
    test(JSON.stringify(text), () => {
      assert.throws(
        () => parsed(text),
        (error: CredentialError) => error.name === 'CredentialError' && error.message === message && error.help !== '',
      );
    });
  }
});

test('profiles of both files; a file that is missing has none, one that cannot be read is an error', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-aws-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const [config, credentials] = [join(dir, 'config'), join(dir, 'credentials')];
  const text =
    '[default]\nregion=1\n[profile o]\nregion=2\n[profile "a b"]\nregion=3\n[p]\nregion=4\n[sso-session s]\nsso_region=5\n';
  await writeFile(config, text);
  const env = { AWS_CONFIG_FILE: config, AWS_SHARED_CREDENTIALS_FILE: credentials };
  assert.deepEqual(await readConfigFiles(env), {
    configFile: { default: { region: '1' }, o: { region: '2' }, 'a b': { region: '3' } },
    credentialsFile: {},
    services: {},
    ssoSessions: { s: { sso_region: '5' } },
    paths: [config, credentials],
  });
  await writeFile(credentials, '[p]\nregion=6\n[profile q]\nregion=7\n');
  assert.deepEqual((await readConfigFiles(env)).credentialsFile, { p: { region: '6' }, 'profile q': { region: '7' } });
  // Docker makes a directory of a mounted file that is missing.
  await rm(credentials);
  await mkdir(credentials);
  await assert.rejects(readConfigFiles(env), {
    name: 'CredentialError',
    message: new RegExp(`^cannot read ${credentials}: EISDIR`),
  });
});

test('a line in which a setting may be lost is refused for the profile that has it, and for no other', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-aws-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const text =
    '[default]\nregion=1\n  role_arn=2\n[profile b]\nrole_arn arn:aws:iam::1:role/x\n[profile c]\nregion=3\n';
  const [config, absent] = [join(dir, 'config'), join('/dev/null', '.aws')];
  await writeFile(config, text);
  const env = { AWS_CONFIG_FILE: ['$', '{D}/config'].join(''), D: dir, AWS_SHARED_CREDENTIALS_FILE: absent };
  const { configFile } = await readConfigFiles(env);
  assert.deepEqual(configFile['c'], { region: '3' });
  const refused = (why: string) => ({ name: 'CredentialError', message: `${why.replace('/c', config)}` });
  const part = 'line 3 of /c is indented, which makes it a part of "region" above it';
  assert.throws(() => configFile['default'], refused(part));
  assert.throws(() => configFile['b'], refused('line 5 of /c has a blank in the name of its setting'));
});

test('a path that no shell has expanded, as in a unit', async () => {
  const { paths } = await readConfigFiles({ AWS_CONFIG_FILE: '~/no-such-rollcall', AWS_SHARED_CREDENTIALS_FILE: '' });
  assert.deepEqual(paths, [join(homedir(), 'no-such-rollcall'), join(homedir(), '.aws/credentials')]);
});
