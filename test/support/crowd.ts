import { readFile } from 'node:fs/promises';
import { parseEnv } from 'node:util';
import { runProgram } from '../../src/cli/program.ts';
import { systemClock } from '../../src/lib/clock.ts';

/**
 * `node test/support/crowd.ts DIR FIRST LAST`: `rollcall agent` for the nodes FIRST to LAST of a simulation whose
 * environment files are in DIR, all in one process, until a stop signal. An agent is 70 MB as a process of its own and
 * a few in a crowd, which is how one machine has hundreds. The store and all other settings: from the environment.
 */
const [dir = '', first = '', last = ''] = process.argv.slice(2);
const abort = new AbortController();
const stopListeners: (() => void)[] = [];
const onStop = () => {
  for (const listener of stopListeners) listener();
};
process.on('SIGTERM', onStop);
process.on('SIGINT', onStop);
// Each agent listens for what ends it.
process.setMaxListeners(0);

const numbers = Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => Number(first) + index);
const statuses = await Promise.all(numbers.map(runAgent));
process.exit(Math.max(...statuses));

async function runAgent(n: number): Promise<number> {
  const env = parseEnv(await readFile(`${dir}/node-${n}.env`, 'utf8'));
  // What differs between nodes is said by flags: they all have one environment.
  const args = [
    ...['agent', '--listen', '127.0.0.1:0', '--docker-socket', 'off'],
    ...['--metadata-endpoint', env['ROLLCALL_METADATA_ENDPOINT'] ?? ''],
    ...['--introspection-endpoint', env['ROLLCALL_INTROSPECTION_ENDPOINT'] ?? ''],
    ...['--machine-id-file', env['ROLLCALL_MACHINE_ID_FILE'] ?? ''],
  ];
  return runProgram(args, {
    env: process.env,
    version: 'from-sources',
    clock: systemClock,
    random: Math.random,
    stdout: async (text) => void process.stdout.write(text),
    stderr: (line) => process.stderr.write(`${line}\n`),
    onStopSignal: (listener) => stopListeners.push(() => listener('SIGTERM')),
    signal: abort.signal,
    residentBytes: () => process.memoryUsage.rss(),
    self: [process.execPath],
  });
}
