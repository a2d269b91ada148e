import { isAbsolute } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import type { CheckConfig, ExecCheckConfig, HttpCheckConfig } from '../checks/probe.ts';
import { formatDuration } from '../lib/duration.ts';
import { UsageError } from '../lib/errors.ts';
import { OWN_CHECK_NAMES } from '../record/health-facts.ts';
import { durationBetween, integerBetween, parseCommand, percentBetween, splitUnquoted } from './flags.ts';
import { repeatable } from './flags-without-effect.ts';

/** HTTP and exec checks together: each is in the record, and each run costs the node something. */
const MAX_OPERATOR_CHECKS = 16;

/** `NAME=URL`, several of them separated by `;` or by repeating the flag. A `;` within a URL is written %3B. */
function httpChecks(text: string, previous: readonly HttpCheckConfig[] = []): readonly HttpCheckConfig[] {
  return addChecks(previous, text.split(';'), (name, value) => ({ name, url: httpUrl(value) }));
}

/**
 * `NAME=COMMAND`, several of them separated by `;` outside quotes, or by repeating the flag. Whether there is such a program
 * is a result of the check: a node must not leave the roll for it.
 */
function execChecks(text: string, previous: readonly ExecCheckConfig[] = []): readonly ExecCheckConfig[] {
  return addChecks(previous, splitUnquoted(text, ';'), (name, value) => ({ name, argv: parseCommand(value) }));
}

function addChecks<Check extends { readonly name: string }>(
  previous: readonly Check[],
  texts: readonly string[],
  make: (name: string, value: string) => Check,
): readonly Check[] {
  const checks = [...previous];
  for (const text of texts.map((each) => each.trim()).filter((each) => each !== '')) {
    const [, name = '', value = ''] = /^([^=\s]*)=(.*)$/s.exec(text) ?? [];
    if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(name)) {
      throw new InvalidArgumentError(
        'Write NAME=…; a name has 1 to 32 of a-z 0-9 and -, and does not begin with a dash.',
      );
    }
    if (OWN_CHECK_NAMES.includes(name)) {
      throw new InvalidArgumentError(`"${name}" is a built-in check: choose another name.`);
    }
    if (checks.some((check) => check.name === name)) {
      throw new InvalidArgumentError(`Two checks have the name "${name}".`);
    }
    checks.push(make(name, value.trim()));
  }
  if (checks.length === previous.length) throw new InvalidArgumentError('Write NAME=….');
  return checks;
}

function httpUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new InvalidArgumentError('Write a URL such as http://127.0.0.1:8080/health.');
  }
  // A password in a flag is visible in every process list.
  if (url.username || url.password) throw new InvalidArgumentError('A URL with a user or password is not allowed.');
  return url.href;
}

export interface CheckFlags {
  readonly dockerSocket: string;
  readonly disk?: string;
  /** Percent. */
  readonly diskWarning: number;
  readonly diskCritical: number;
  readonly checkHttp: readonly HttpCheckConfig[];
  readonly checkExec: readonly ExecCheckConfig[];
  readonly checkInterval: number;
  readonly checkTimeout: number;
  readonly checkRise: number;
  readonly checkFall: number;
}

const HOUR_MS = 3_600_000;

/** What an agent checks beside its sources. */
export function checkOptions(): Option[] {
  return [
    new Option('--docker-socket <path>', 'socket of docker, checked if it exists at start; off: docker is not checked')
      .env('ROLLCALL_DOCKER_SOCKET')
      .default('/var/run/docker.sock')
      .argParser(pathOrOff),
    new Option('--disk <path>', 'check the free space and inodes of the file system that holds this path')
      .env('ROLLCALL_DISK')
      .argParser(absolutePath),
    new Option('--disk-warning <percent>', 'free space or inodes below this are a warning')
      .env('ROLLCALL_DISK_WARNING')
      .default(15, '15%')
      .argParser(percentBetween(0, 100)),
    new Option('--disk-critical <percent>', 'free space or inodes below this are critical')
      .env('ROLLCALL_DISK_CRITICAL')
      .default(5, '5%')
      .argParser(percentBetween(0, 100)),
    repeatable(
      new Option(
        '--check-http <name=url>',
        'a check of your own: GET this URL; 2xx passes, 429 warns, all else is critical; repeatable, or separated by ;',
      )
        .env('ROLLCALL_CHECK_HTTP')
        .default([], 'none')
        .argParser(httpChecks),
    ),
    repeatable(
      new Option(
        '--check-exec <name=command>',
        'a check of your own: run this without a shell; exit status 0 passes, 1 warns, all else is critical, and the first line of its output is the reason; repeatable, or separated by ;',
      )
        .env('ROLLCALL_CHECK_EXEC')
        .default([], 'none')
        .argParser(execChecks),
    ),
    new Option('--check-interval <duration>', 'how often each check runs')
      .env('ROLLCALL_CHECK_INTERVAL')
      .default(10_000, '10s')
      .argParser(durationBetween(1_000, HOUR_MS)),
    new Option('--check-timeout <duration>', 'a check that takes longer is critical; a command is killed then')
      .env('ROLLCALL_CHECK_TIMEOUT')
      .default(5_000, '5s')
      .argParser(durationBetween(100, HOUR_MS)),
    new Option('--check-rise <n>', 'equal results in a row before the status changes for the better')
      .env('ROLLCALL_CHECK_RISE')
      .default(2)
      .argParser(integerBetween(1, 100)),
    new Option('--check-fall <n>', 'equal results in a row before the status changes for the worse')
      .env('ROLLCALL_CHECK_FALL')
      .default(3)
      .argParser(integerBetween(1, 100)),
  ];
}

/** @throws UsageError for values that are valid alone but not together */
export function checkConfig(flags: CheckFlags): CheckConfig {
  const { disk, diskWarning, diskCritical, checkHttp, checkExec, checkInterval, checkTimeout } = flags;
  if (disk !== undefined && diskCritical >= diskWarning) {
    throw new UsageError(`--disk-critical ${diskCritical}% must be less than --disk-warning ${diskWarning}%`);
  }
  if (checkTimeout >= checkInterval) {
    throw new UsageError(
      `--check-timeout ${formatDuration(checkTimeout)} must be shorter than --check-interval ${formatDuration(checkInterval)}`,
    );
  }
  const twice = checkHttp.find(({ name }) => checkExec.some((each) => each.name === name));
  if (twice) throw new UsageError(`two checks have the name "${twice.name}", in --check-http and --check-exec`);
  const count = checkHttp.length + checkExec.length;
  if (count > MAX_OPERATOR_CHECKS) {
    throw new UsageError(`${count} checks of your own are given: at most ${MAX_OPERATOR_CHECKS} are allowed`);
  }
  return {
    dockerSocket: flags.dockerSocket === 'off' ? null : flags.dockerSocket,
    disk: disk === undefined ? null : { path: disk, warningPercent: diskWarning, criticalPercent: diskCritical },
    http: checkHttp,
    exec: checkExec,
    intervalMs: checkInterval,
    timeoutMs: checkTimeout,
    rise: flags.checkRise,
    fall: flags.checkFall,
  };
}

function pathOrOff(text: string): string {
  return text === 'off' ? text : absolutePath(text);
}

function absolutePath(text: string): string {
  if (!isAbsolute(text) || text.includes('\0')) throw new InvalidArgumentError('Write an absolute path.');
  return text;
}
