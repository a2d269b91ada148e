import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { env as variables } from 'node:process';
import { after, before, describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connect } from '../../../src/client/connect.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { ecsEnvironment } from '../../../src/simulator/ecs/ecs-server.ts';
import { openStore } from '../../../src/store/open-store.ts';
import type { Store } from '../../../src/store/store.ts';
import { parseStoreUrl } from '../../../src/store/store-url.ts';
import { arnOf, ecsOf, startEcsEndpoint } from '../../support/ecs-endpoint.ts';
import { type EtcdCluster, startEtcdCluster } from '../../support/etcd-cluster.ts';
import { type Impostor, startFreezingProxy, startSilentServer } from '../../support/etcd-impostors.ts';
import { never } from '../../support/etcd-kv.ts';
import { freePorts } from '../../support/etcd-ports.ts';
import { describeOnEtcds, type EtcdVersion } from '../../support/etcd-versions.ts';
import { timed, until } from '../../support/machine-time.ts';
import { diesWithParent } from '../../support/owned-process.ts';
import { CLEAN_ENV, startFleet } from '../../support/rollcall-process.ts';
import { sampleInstanceId, sampleRecord } from '../../support/sample-record.ts';

const BUNDLE = fileURLToPath(new URL('../../../dist/rollcall.cjs', import.meta.url));
/** What is promised, from the start of the process, in machine time as all bounds here. */
const ANSWER_MS = 5_000;
/** The same while a leader is elected: each member may let one read run out. */
const ELECTION_MS = 8_000;
const END_MS = 3_000;
const MAX_RESIDENT_KB = 300_000;
/** So that a process that grows without end takes nothing else along. Node reserves much and uses little of it. */
const MAX_DATA_BYTES = 2_000_000_000;
const NODES = 40;
/** Of lists beside a silent member, on each etcd. */
const TRIES = 20;
const AT_ONCE = 5;
/**
 * How often each command runs in each of four situations and two orders, on each etcd. With 10 that is 20 times in each
 * situation; `--test-name-pattern='etcd 3.4.23'` takes one etcd.
 */
const EACH_TRIES = Number(variables['HANGING_TRIES'] ?? 1);
const eachTry = async (work: () => Promise<void>) => {
  for (let n = 0; n < EACH_TRIES; n += 1) await work();
};

const PLACE = ['place', '--cluster', 'demo', '--cpu', '1', '--memory', '1'];

/** Where a process begins in the list of endpoints. */
const ORDERS = { 'the hanging one first': 0, 'the good one first': 0.999 } as const;

/** A process of the built program that begins at the endpoint which `random` draws. */
function start(t: TestContext, random: number, args: readonly string[], env: Readonly<Record<string, string>>) {
  const begin = `data:text/javascript,Math.random=()=>${random}`;
  const capped = [`--data=${MAX_DATA_BYTES}`, process.execPath, '--import', begin, BUNDLE, ...args];
  const [file, all] = diesWithParent('KILL', 'prlimit', capped);
  const child = spawn(file, all, { env: { ...CLEAN_ENV, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '', residentKb: 0 };
  child.stdout.on('data', (chunk) => (output.stdout += chunk));
  child.stderr.on('data', (chunk) => (output.stderr += chunk));
  const sampling = setInterval(() => {
    output.residentKb = Math.max(output.residentKb, residentKb(child));
    if (output.residentKb > 2 * MAX_RESIDENT_KB) child.kill('SIGKILL');
  }, 20);
  // Not `exit`: what was written may be read later.
  const ended = once(child, 'close').then(([code]) => code as number | null);
  void ended.then(() => clearInterval(sampling));
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return { child, output, ended };
}

/** The most it has had so far; 0 once it is gone. */
function residentKb(child: ChildProcess): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Runs a command to its end, which has to come in time. */
async function run(
  t: TestContext,
  random: number,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  limitMs = ANSWER_MS,
) {
  const { child, output, ended } = start(t, random, args, env);
  await until(`the answer of ${args[0]}`, limitMs, () => child.exitCode !== null || child.signalCode !== null);
  const said = `${args[0]}: ${output.stderr.slice(-300)} ${output.residentKb} kB`;
  assert.ok(output.residentKb < MAX_RESIDENT_KB, said);
  assert.equal(await ended, 0, said);
  return output.stdout;
}

/** The list of all nodes, in time. */
async function list(t: TestContext, random: number, store: string, limitMs = ANSWER_MS) {
  const args = ['list', '--fields', 'instance', '--no-legend'];
  const printed = await run(t, random, args, { ROLLCALL_STORE: store }, limitMs);
  assert.equal(printed.trim().split('\n').length, NODES);
}

/** Sends SIGTERM, and holds that it ends the process at once. */
async function endsAtOnce({ child, output, ended }: ReturnType<typeof start>) {
  child.kill('SIGTERM');
  const [, tookMs] = await timed(ended);
  assert.ok(tookMs < END_MS, `it took ${tookMs} ms to end`);
  assert.ok(output.residentKb < MAX_RESIDENT_KB, `${output.residentKb} kB`);
}

const settings = { caFile: null, certFile: null, keyFile: null, user: null, password: null };

async function writeNodes(endpoints: readonly string[]) {
  // Only preparation: a busy machine may take its time.
  const config = { ...parseStoreUrl(storeUrl(endpoints), settings), callTimeoutMs: 60_000 };
  const store = await openStore(config, { clock: systemClock, random: Math.random, signal: never, create: true });
  for (let n = 0; n < NODES; n += 1) await register(store, n, 's');
  await store.close();
}

function register(store: Store, n: number, session: string) {
  const instanceId = sampleInstanceId(n);
  const record = sampleRecord({ ec2InstanceId: instanceId, containerInstanceArn: arnOf('demo', n) });
  const times = { since: '2026-01-01T00:00:00Z', ttlMs: 3_600_000, retentionMs: 7_200_000 };
  return store.register({ instanceId, session, ...times }, record, { takeover: true, signal: never });
}

function storeUrl(endpoints: readonly string[]): string {
  return `etcd://${endpoints.map((url) => url.replace('http://', '')).join(',')}`;
}

it('a command whose store never answers ends at once by SIGTERM', async (t) => {
  const ecs = await startEcsEndpoint(t, ecsOf({ demo: NODES }));
  const fleet = await startFleet(t, 1);
  const env = { ...(await fleet.environment(1)), ...ecsEnvironment(ecs.url), ROLLCALL_LISTEN: '127.0.0.1:0' };
  const commands = [
    ...[['list'], ['show', sampleInstanceId(0)], ['audit', '--cluster', 'demo'], PLACE],
    ...[['status'], ['wait', '--count', '1'], ['watch'], ['agent']],
  ];
  for (const args of commands) {
    const silent = await startSilentServer();
    const command = start(t, 0, args, { ...env, ROLLCALL_STORE: storeUrl([silent.url]) });
    await until(`${args[0]} asks the store`, ANSWER_MS, () => silent.connections() > 0);
    await endsAtOnce(command);
    await silent.close();
  }
});

describe('a member that hangs beside good ones', { concurrency: true }, () => {
  describeOnEtcds('beside good ones', hangingMember);
});

function hangingMember(version: EtcdVersion): void {
  let cluster: EtcdCluster;
  const impostors: Impostor[] = [];
  /** The hanging one first, the good ones after it. */
  const situations: Record<string, () => Promise<readonly string[]>> = {
    'accepts and never answers, beside one': async () => [await silent(), ...cluster.endpoints.slice(0, 1)],
    'accepts and never answers, beside two': async () => [await silent(), ...cluster.endpoints.slice(0, 2)],
    'is a stopped process, beside two': async () => {
      const leader = await cluster.leader();
      const stopped = cluster.members.find((member) => member !== leader);
      assert.ok(stopped);
      process.kill(stopped.pid, 'SIGSTOP');
      return [stopped.clientUrl, ...cluster.endpoints.filter((url) => url !== stopped.clientUrl)];
    },
    'freezes in the middle of an answer, beside one': async () => {
      const good = cluster.endpoints[0] ?? '';
      impostors.push(await startFreezingProxy(good, 3_000));
      return [impostors.at(-1)?.url ?? '', good];
    },
  };
  const silent = async () => {
    impostors.push(await startSilentServer());
    return impostors.at(-1)?.url ?? '';
  };

  before(async () => {
    cluster = await startEtcdCluster(3, { version });
    await writeNodes(cluster.endpoints);
  });
  after(async () => {
    await Promise.all(impostors.map((impostor) => impostor.close()));
    await cluster.dispose();
  });

  for (const [situation, arrange] of Object.entries(situations)) {
    describe(situation, () => {
      let store = '';
      let endpoints: readonly string[] = [];
      before(async () => {
        endpoints = await arrange();
        store = storeUrl(endpoints);
      });
      after(() => {
        for (const { pid } of cluster.members) process.kill(pid, 'SIGCONT');
      });

      for (const [order, random] of Object.entries(ORDERS)) {
        it(`${order}: each command gives the right answer in time`, async (t) => {
          const ecs = await startEcsEndpoint(t, ecsOf({ demo: NODES }));
          const env = { ...ecsEnvironment(ecs.url), ROLLCALL_STORE: store };
          const last = sampleInstanceId(NODES - 1);
          await eachTry(async () => {
            const [shown, audited, placed, status] = await Promise.all([
              run(t, random, ['show', last], env),
              run(t, random, ['audit', '--cluster', 'demo'], env),
              run(t, random, PLACE, env),
              run(t, random, ['status'], env),
              run(t, random, ['wait', '--count', String(NODES)], env),
              list(t, random, store),
            ]);
            assert.match(shown, new RegExp(last));
            assert.match(audited, /\b40\b/);
            assert.match(placed, /container-instance\/demo\//);
            assert.match(status, /\b40\b/);
          });
        });

        it(`${order}: watch has the snapshot in time, and ends when it is stopped`, (t) =>
          eachTry(async () => {
            const watching = start(t, random, ['watch'], { ROLLCALL_STORE: store });
            await until('the snapshot', ANSWER_MS, () => watching.output.stdout.includes('roll.synced'));
            await endsAtOnce(watching);
          }));

        it(`${order}: an agent registers in time, is healthy, and ends when it is stopped`, async (t) => {
          const fleet = await startFleet(t, 1);
          await eachTry(async () => {
            const [port = 0] = await freePorts(1);
            const listen = `127.0.0.1:${port}`;
            const env = { ...(await fleet.environment(1)), ROLLCALL_STORE: store, ROLLCALL_LISTEN: listen };
            const agent = start(t, random, ['agent'], env);
            await until('it is registered', ANSWER_MS, async () => (await fetch(`http://${listen}/readyz`)).ok);
            assert.match(await run(t, random, ['health'], env), /healthy/);
            await endsAtOnce(agent);
          });
        });

        it(`${order}: a client lists in time`, async (t) => {
          // It draws its endpoint by chance: turned around, each order comes first in one of the two.
          const turned = random === 0 ? endpoints : [...endpoints].reverse();
          for (let n = 0; n < 4 * EACH_TRIES; n += 1) {
            const client = connect(storeUrl(turned));
            t.after(() => client.close());
            const [{ containerInstances }, tookMs] = await timed(client.list());
            assert.equal(containerInstances.length, NODES);
            assert.ok(tookMs < ANSWER_MS, `it took ${tookMs} ms`);
            await client.close();
          }
        });
      }
    });
  }

  it(`is no obstacle to any of ${TRIES} lists, whichever comes first`, async (t) => {
    const hanging = await silent();
    const good = cluster.endpoints[0] ?? '';
    for (let n = 0; n < TRIES; n += AT_ONCE) {
      const store = storeUrl(n % (2 * AT_ONCE) === 0 ? [hanging, good] : [good, hanging]);
      await Promise.all(Array.from({ length: AT_ONCE }, (_, k) => list(t, k % 2 === 0 ? 0 : 0.999, store)));
    }
  });

  it('that was the leader until the moment of the read is no obstacle to a list, whichever comes first', async (t) => {
    for (const random of [0, 0.5, 0.999]) {
      const leader = await cluster.leader();
      process.kill(leader.pid, 'SIGSTOP');
      try {
        await Promise.all([
          list(t, random, storeUrl(cluster.endpoints), ELECTION_MS),
          list(t, random, storeUrl([...cluster.endpoints].reverse()), ELECTION_MS),
        ]);
      } finally {
        process.kill(leader.pid, 'SIGCONT');
      }
    }
  });
}
