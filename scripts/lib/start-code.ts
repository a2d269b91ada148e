import { spawn } from 'node:child_process';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/lib/clock.ts';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { startStandInEtcd } from './stand-in-etcd.ts';

const KEEP_CODE = fileURLToPath(new URL('keep-code.cjs', import.meta.url));
/** For each run; an emulated start takes seconds. */
const RUN_LIMIT_MS = 60_000;
/** More than one call reads: `list` then runs the code for large rolls, too. */
const LISTED_NODES = 100;

/**
 * Writes `rollcall.code` beside the program in `folder`: what V8 compiles of it in the starts below. For the Node that runs this.
 * Runs the program itself, on loopback.
 * @throws Error when a run fails or takes too long
 */
export async function writeStartCode(folder: string): Promise<void> {
  const [etcd, simulator] = await Promise.all([
    startStandInEtcd(),
    startSimulator({ nodes: 1, basePort: 0, cluster: 'build', seed: 'build', clock: systemClock }),
  ]);
  const [node] = simulator.nodes;
  const agent = {
    ROLLCALL_METADATA_ENDPOINT: node?.imdsEndpoint ?? '',
    ROLLCALL_INTROSPECTION_ENDPOINT: node?.introspectionEndpoint ?? '',
    ROLLCALL_LISTEN: '127.0.0.1:0',
    ROLLCALL_DOCKER_SOCKET: 'off',
  };
  try {
    // Each adds to the code of those before it, and fails where V8 would not use that.
    await addRun(folder, ['agent', '--store', etcd.url], agent, /registered i-/);
    etcd.addNodes(LISTED_NODES);
    await addRun(folder, ['list', '--store', etcd.url]);
    await addRun(folder, ['--help']);
    await addRun(folder, ['--version']);
  } finally {
    etcd.close();
    await simulator.close();
  }
}

/** @param until what the process says on stderr before it is stopped; default: it ends by itself */
async function addRun(
  folder: string,
  args: readonly string[],
  env: Record<string, string> = {},
  until?: RegExp,
): Promise<void> {
  const kept = `${folder}/kept`;
  const child = spawn(process.execPath, ['--require', KEEP_CODE, `${folder}/start.cjs`, ...args], {
    env: { KEEP_CODE: kept, ...env },
    // An agent with a channel to its parent ends with it.
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    timeout: RUN_LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  let output = '';
  child.stderr?.on('data', (chunk) => {
    output += chunk;
    if (until?.test(output)) child.kill('SIGTERM');
  });
  const [status, signal] = await once(child, 'close');
  if (status !== 0)
    throw new Error(`rollcall ${args.join(' ')}: ended with ${signal ?? status}: ${output.slice(0, 2_000)}`);
  const code = readFileSync(kept);
  rmSync(kept);
  const digests = [readFileSync(`${folder}/rollcall.cjs`), code].map((part) => hash('sha256', part, 'buffer'));
  writeFileSync(`${folder}/rollcall.code`, Buffer.concat([...digests, code]));
}
