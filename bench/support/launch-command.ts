import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { startSilentServer } from '../../test/support/etcd-impostors.ts';
import type { BenchContext } from '../benchmark.ts';
import { startChild } from './start-child.ts';
import { waitUntil } from './wait-until.ts';

const SCRIPT = fileURLToPath(new URL('../../scripts/rollcall', import.meta.url));

/**
 * The program that `scripts/rollcall COMMAND` becomes after its set-up check, with its runtime flags, up to and
 * without COMMAND. It is read from the running process, so that what is measured is what users run.
 */
export async function launchCommand(
  context: BenchContext,
  command: 'agent' | 'list' | 'watch',
): Promise<readonly string[]> {
  // A store that says nothing keeps either command alive until it was seen.
  const silent = await startSilentServer();
  context.cleanup.defer(() => silent.close());
  const nowhere = [
    '--metadata-endpoint',
    silent.url,
    '--introspection-endpoint',
    silent.url,
    '--listen',
    '127.0.0.1:0',
  ];
  const args = [command, '--store', silent.url.replace('http:', 'etcd:'), ...(command === 'agent' ? nowhere : [])];
  let complaint = '';
  const child = startChild(context, [SCRIPT, ...args], {
    deathWatch: true,
    onStderr: (chunk) => {
      complaint = (complaint + chunk).slice(0, 500);
    },
  });
  const early = child.ended.then(({ code }) => {
    throw new Error(`scripts/rollcall ${command}: ended with ${code} before it was seen running: ${complaint}`);
  });
  const limits = { everyMs: 2, limitMs: 30_000 };
  const seen = waitUntil(context, `scripts/rollcall ${command} runs`, limits, async () => {
    const argv = (await readFile(`/proc/${child.pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    // The script names itself until it is replaced by what it starts.
    const end = argv.includes(SCRIPT) ? -1 : argv.indexOf(command);
    return end === -1 ? null : argv.slice(0, end);
  });
  const launched = await Promise.race([seen, early]);
  await child.stop('SIGKILL');
  return launched;
}
