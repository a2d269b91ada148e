import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { type CheckFlags, checkConfig, checkOptions } from '../../src/config/check-flags.ts';

function config(args: readonly string[], variables: Record<string, string> = {}) {
  const before = { ...process.env };
  // Commander reads the process's own.
  Object.assign(process.env, variables);
  try {
    const command = new Command().exitOverride().configureOutput({ outputError: () => {} });
    for (const option of checkOptions()) command.addOption(option);
    return checkConfig(command.parse([...args], { from: 'user' }).opts<CheckFlags>());
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name];
    Object.assign(process.env, before);
  }
}

function refuses(pattern: RegExp, ...args: string[]) {
  assert.throws(() => config(args), pattern, args.join(' '));
}

test('without flags only docker is checked', () => {
  assert.deepEqual(config([]), {
    dockerSocket: '/var/run/docker.sock',
    disk: null,
    http: [],
    exec: [],
    intervalMs: 10_000,
    timeoutMs: 5_000,
    rise: 2,
    fall: 3,
  });
  assert.equal(config(['--docker-socket', 'off']).dockerSocket, null);
});

test('operator checks add up over repeated flags, and over ; in a variable', () => {
  const flags = config([
    ...['--check-http', 'web=http://127.0.0.1:8080/health?deep=1', '--check-http', 'api=https://localhost/'],
    ...['--check-exec', `own=sh -c 'exit 1; true' "a b"`, '--check-exec', 'x=true'],
  ]);
  assert.deepEqual(flags.http, [
    { name: 'web', url: 'http://127.0.0.1:8080/health?deep=1' },
    { name: 'api', url: 'https://localhost/' },
  ]);
  assert.deepEqual(flags.exec, [
    { name: 'own', argv: ['sh', '-c', 'exit 1; true', 'a b'] },
    { name: 'x', argv: ['true'] },
  ]);
  const variables = config([], {
    ROLLCALL_CHECK_HTTP: 'web=http://127.0.0.1:8080/health?deep=1; api=https://localhost/;',
    ROLLCALL_CHECK_EXEC: `own=sh -c 'exit 1; true' "a b";x=true`,
  });
  assert.deepEqual(variables, flags);
});

test('the disk limits must fit together', () => {
  assert.deepEqual(config(['--disk', '/var/lib/docker', '--disk-warning', '20', '--disk-critical=2.5%']).disk, {
    path: '/var/lib/docker',
    warningPercent: 20,
    criticalPercent: 2.5,
  });
  refuses(
    /--disk-critical 20% must be less than --disk-warning 20%/,
    '--disk=/',
    '--disk-critical=20',
    '--disk-warning=20',
  );
  refuses(/absolute path/, '--disk', 'var/lib');
  refuses(/absolute path/, '--docker-socket', 'docker.sock');
  refuses(/from 0% to 100%/, '--disk-warning', '101');
});

test('an invalid, duplicate or built-in name is refused', () => {
  for (const name of ['', '-a', 'A', 'a_b', 'a b', 'ü', 'x'.repeat(33)]) {
    refuses(/a name has 1 to 32 of a-z 0-9/, '--check-http', `${name}=http://h/`);
  }
  for (const name of ['metadata', 'ecs-agent', 'docker', 'store', 'disk']) {
    refuses(/is a built-in check/, '--check-exec', `${name}=true`);
  }
  refuses(/Two checks have the name "a"/, '--check-exec', 'a=true', '--check-exec', 'a=false');
  refuses(/two checks have the name "a"/, '--check-exec', 'a=true', '--check-http', 'a=http://h/');
  refuses(/Write NAME=/, '--check-http', ' ; ');
});

test('an invalid URL or command is refused at the start; a program that is missing is a result of its check', () => {
  for (const url of ['', 'h:80', '/health', 'ftp://h/', 'unix:/x'])
    refuses(/Write a URL such as/, '--check-http', `a=${url}`);
  refuses(/user or password is not allowed/, '--check-http', 'a=http://u:p@h/');
  refuses(/A " is not closed/, '--check-exec', 'a=sh "');
  refuses(/It names no program/, '--check-exec', 'a=');
  assert.deepEqual(config(['--check-exec', 'a=no-such-program -x']).exec, [
    { name: 'a', argv: ['no-such-program', '-x'] },
  ]);
});

test('at most sixteen operator checks are allowed, of both kinds together', () => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, n) =>
      n % 2 ? ['--check-exec', `c${n}=true`] : ['--check-http', `c${n}=http://h/`],
    );
  assert.equal(config(many(16).flat()).http.length, 8);
  refuses(/17 checks of your own are given: at most 16/, ...many(17).flat());
});

test('interval, timeout and damping have limits', () => {
  const { intervalMs, timeoutMs, rise, fall } = config([
    ...['--check-interval', '1s', '--check-timeout', '900ms', '--check-rise', '1', '--check-fall', '1'],
  ]);
  assert.deepEqual([intervalMs, timeoutMs, rise, fall], [1_000, 900, 1, 1]);
  refuses(/--check-timeout 5s must be shorter than --check-interval 5s/, '--check-interval', '5s');
  refuses(/from 1s to 1h/, '--check-interval', '500ms');
  refuses(/from 1 to 100/, '--check-fall', '0');
});
