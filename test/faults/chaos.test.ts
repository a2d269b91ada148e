import assert from 'node:assert/strict';
import { appendFileSync, openSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { RollCloudEvent } from '../../src/client/types.ts';
import { freePorts } from '../support/etcd-ports.ts';
import { startEtcd } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { SCRIPT, startFleet } from '../support/rollcall-process.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { type History, judge, recordHistory } from './chaos/history.ts';
import { killAtRandom, type Victim } from './chaos/killing.ts';
import { followLines } from './chaos/lines.ts';
import { type Mortal, startMortal } from './chaos/mortal.ts';
import { isSettled, writeRandomly } from './chaos/random-writer.ts';
import { openSampleWriter } from './sample-writer.ts';
import { createToldRoll, differences, storedRoll, type ToldRoll } from './told-roll.ts';

/** A machine with two cores of its own takes 20 s; a busy one took more than 120. */
const WRITING_LIMIT_MS = 400_000;
const SETTLING_LIMIT_MS = 60_000;
/** A handler is a process for each of some thousand events: 20 ms on a busy machine. */
const CONSUMING_LIMIT_MS = 200_000;
/** Longer than scripts/test gives a test: the limits above are what ends a wait, and they say for what. */
const WHOLE = { timeout: 1_200_000 };
const CONSUMER = fileURLToPath(new URL('./chaos/client-consumer.ts', import.meta.url));

interface FileConsumer {
  readonly name: string;
  /** It does not hold uncertain losses back. */
  readonly isOfFacts: boolean;
  readonly mortals: readonly Mortal[];
  /** What its file says so far. */
  told(): ToldRoll;
}

/** etcd, an agent, and the means to start consumers whose files outlive them. */
async function world(t: TestContext, guard: readonly string[]) {
  const seed = Number(process.env['ROLLCALL_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
  process.stdout.write(`to run this again: ROLLCALL_TEST_SEED=${seed}\n`);
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-chaos-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const store = etcd.clientUrl.replace('http', 'etcd');
  const ended = new AbortController();
  // Before the store is closed, which is what the next line adds.
  t.after(async () => {
    ended.abort();
    await history.ended;
  });
  const writer = await openSampleWriter(t, etcd.endpoints);
  const history = recordHistory(writer.store, ended.signal);

  const fleet = await startFleet(t, 1);
  const [port] = await freePorts(1);
  const agent = startMortal(t, {
    name: 'agent',
    argv: [SCRIPT, 'agent', '--store', store, '--presence-ttl', '3s', '--listen', `127.0.0.1:${port}`, ...guard],
    env: await fleet.environment(1),
  });

  function fileConsumer(name: string, start: (file: string) => readonly Mortal[], isOfFacts = false): FileConsumer {
    const file = join(dir, name.replaceAll(' ', '-'));
    const mortals = start(file);
    const lines = followLines<RollCloudEvent>(file);
    const told = createToldRoll();
    const catchUp = () => {
      for (const event of lines()) told.take(event);
      return told;
    };
    return { name, isOfFacts, mortals, told: catchUp };
  }

  return {
    random: seededRandom(seed),
    seed,
    etcd,
    agent,
    writer,
    history,
    dir,
    /** Its output goes to a file, which therefore has what the cursor says is finished. */
    watchToFile: () =>
      fileConsumer(
        'watch to a file',
        (file) => [
          startMortal(t, {
            name: 'watch',
            argv: [SCRIPT, 'watch', '--store', store, '--cursor', `${file}.cursor`, ...guard],
            stdout: openSync(file, 'a'),
            // Ends what was cut off in the middle of a line.
            beforeStart: () => appendFileSync(file, '\n'),
          }),
        ],
        true,
      ),
    async watchToHandler() {
      const script = join(dir, 'handler');
      await writeFile(script, '#!/bin/sh\n{ echo; cat; echo; } >>"$OUT"\n');
      await chmod(script, 0o755);
      return fileConsumer('watch to a handler', (file) => {
        const watch = startMortal(t, {
          name: 'watch --exec',
          argv: [SCRIPT, 'watch', '--store', store, '--cursor', `${file}.cursor`, '--exec', script, ...guard],
          env: { OUT: file },
        });
        return [watch, handlerOf(watch.pid)];
      });
    },
    clientOverHttp: () =>
      fileConsumer('client over HTTP', (file) => [
        startMortal(t, { name: 'client', argv: [process.execPath, CONSUMER, `http://127.0.0.1:${port}`, file] }),
      ]),
  };
}

/** Whatever the watch is running at that moment. */
function handlerOf(watchPid: () => number): Mortal {
  return {
    name: 'handler',
    async kill() {
      const pid = watchPid();
      const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
      for (const child of children.split(' ').filter(Boolean)) {
        try {
          process.kill(Number(child), 'SIGKILL');
        } catch {
          // it has ended meanwhile
        }
      }
    },
    start: async () => {},
    failure: () => null,
  };
}

interface Run {
  readonly operations: number;
  readonly nodes: number;
  readonly atOnce: number;
  readonly guarded: boolean;
  readonly consumers: readonly FileConsumer[];
  /** Killed besides etcd, the agent and the consumers. */
  readonly more?: readonly Victim[];
}

/** Lets it all happen, and judges what the consumers' files say in the end. */
async function run(t: TestContext, w: Awaited<ReturnType<typeof world>>, what: Run) {
  const { etcd, agent, writer, history, random, seed } = w;
  const { operations, nodes, atOnce, guarded, consumers, more = [] } = what;
  for (const { name, told } of consumers) {
    await until(`${name} has the first snapshot`, SETTLING_LIMIT_MS, () =>
      told().events.some(({ type }) => type === 'rollcall.roll.synced'),
    );
  }
  const mortals = [agent, ...consumers.flatMap((each) => each.mortals)];
  const store: Victim = { name: 'etcd', kill: () => etcd.stop(), start: () => etcd.restart() };
  const written = new AbortController();
  const startMs = performance.now();
  const killing = killAtRandom([store, ...mortals, ...more], seededRandom(seed + 1), written.signal);
  const done = await writeRandomly({
    store: writer.store,
    random,
    operations,
    enough: killing.sparedNobody,
    nodes,
    atOnce,
    signal: AbortSignal.timeout(WRITING_LIMIT_MS),
  }).finally(async () => {
    written.abort();
    await killing.ended; // all run again
  });
  const kills = killing.kills();
  const writtenMs = performance.now() - startMs;

  await until('nothing more ends by its lease', SETTLING_LIMIT_MS, async () =>
    isSettled(await writer.store.read(new AbortController().signal)),
  );
  for (const { name, told } of consumers) {
    await until(`${name} has the roll of the store (seed ${seed})`, CONSUMING_LIMIT_MS, async () => {
      const differ = differences(told().instances, await storedRoll(writer.store));
      assert.deepEqual(differ, [], mortals.map((each) => each.failure()).join(''));
      return true;
    });
  }
  for (const mortal of mortals) assert.equal(mortal.failure(), null);
  await until('the history is whole', SETTLING_LIMIT_MS, async () => {
    const { revision } = await writer.store.read(new AbortController().signal);
    return history.revision() >= BigInt(revision);
  });
  t.diagnostic(`${JSON.stringify(done)} in ${Math.round(writtenMs)} ms; killed: ${JSON.stringify(kills)}`);
  assert.deepEqual(history.holes, []);
  const verdicts = consumers.map(({ name, told, isOfFacts }) => {
    const verdict = judge(history.happenings, told().events, guarded && !isOfFacts);
    t.diagnostic(`${name}: ${summary(history, told().events)}, ${verdict.told} told, ${verdict.covered} covered`);
    assert.deepEqual(verdict.missing.slice(0, 10), [], `${name}: ${verdict.missing.length} missing (seed ${seed})`);
    assert.deepEqual(verdict.invented.slice(0, 10), [], `${name}: ${verdict.invented.length} invented (seed ${seed})`);
    return verdict;
  });
  return { verdicts, kills };
}

function summary({ happenings }: History, events: readonly RollCloudEvent[]): string {
  const lost = happenings.filter(({ after }) => after === 'lost').length;
  const count = (type: RollCloudEvent['type']) => events.filter((event) => event.type === type).length;
  const rolls = `${count('rollcall.roll.synced')} snapshots, ${count('rollcall.roll.certain')} mass losses`;
  return `${happenings.length} changes, ${lost} losses among them, ${events.length} events, ${rolls}`;
}

test(
  'of 10,000 random changes no consumer misses one, while consumers, etcd and their agent are killed at random',
  WHOLE,
  async (t) => {
    const off = ['--mass-loss-share', 'off'];
    const w = await world(t, off);
    const consumers = [w.watchToFile(), w.clientOverHttp()];
    const { verdicts, kills } = await run(t, w, {
      operations: 10_000,
      nodes: 300,
      atOnce: 24,
      guarded: false,
      consumers,
    });
    for (const name of ['etcd', 'agent', 'watch', 'client']) assert.ok((kills[name] ?? 0) > 0, `${name} was killed`);
    // A snapshot is a lawful answer to an outage, but not to everything.
    // The slower the machine, the more is killed: in six minutes one consumer got a tenth, and 20 s bring nearly all.
    for (const { told, covered } of verdicts) assert.ok(told > 300, `${told} told, ${covered} covered`);
  },
);

test(
  'with uncertain losses and compactions, killed consumers also miss nothing, and of the facts each',
  WHOLE,
  async (t) => {
    // Low, so that it is passed now and then.
    const w = await world(t, ['--mass-loss-share', '10%']);
    const consumers = [await w.watchToHandler(), w.clientOverHttp(), w.watchToFile()];
    const compaction: Victim = {
      name: 'history',
      kill: async () => void (await w.etcd.etcdctl('compact', String(w.history.revision())).catch(() => {})),
      start: async () => {},
    };
    await run(t, w, { operations: 2_500, nodes: 300, atOnce: 2, guarded: true, consumers, more: [compaction] });
  },
);
