import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { startSilentServer } from '../../test/support/etcd-impostors.ts';
import type { BenchContext } from '../benchmark.ts';
import { startChild } from './start-child.ts';
import { waitUntil } from './wait-until.ts';

const SCRIPT = fileURLToPath(new URL('../../scripts/rollcall', import.meta.url));

export interface Launch {
  /** The program with its runtime flags, up to and without COMMAND. */
  readonly argv: readonly string[];
  /**
   * The runtime's own variables: where compiled code is kept between runs. An agent is measured without them, since
   * the image that runs on the nodes keeps nothing.
   */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * What `scripts/rollcall COMMAND` becomes after its set-up check. It is read from the running process, so that what is
 * measured is what users run.
 */
export async function launchCommand(context: BenchContext, command: 'agent' | 'list' | 'watch'): Promise<Launch> {
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
    const of = async (file: string) =>
      (await readFile(`/proc/${child.pid}/${file}`, 'utf8').catch(() => '')).split('\0');
    const argv = await of('cmdline');
    // The script names itself until it is replaced by what it starts.
    const end = argv.includes(SCRIPT) ? -1 : argv.indexOf(command);
    if (end === -1) return null;
    const runtime = (await of('environ')).map((line) => /^(NODE_[^=]*)=(.*)$/s.exec(line));
    const env = Object.fromEntries(runtime.flatMap((found) => (found ? [[found[1] ?? '', found[2] ?? '']] : [])));
    return { argv: argv.slice(0, end), env };
  });
  const launched = await Promise.race([seen, early]);
  await child.stop('SIGKILL');
  return launched;
}
