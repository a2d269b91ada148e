import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import type { Probe } from '../../src/checks/probe.ts';
import { untilAborted } from '../../src/lib/abort.ts';
import type { Store } from '../../src/store/store.ts';
import { shiftedClock } from '../sources/shifted-clock.ts';
import { flakyStore } from '../support/flaky-store.ts';
import { until } from '../support/machine-time.ts';
import { getJson, PATIENCE_MS } from '../support/rollcall-process.ts';
import { startWorld } from './start-agent.ts';

/** More than any loop may stand still. */
const LONG_MS = 90_000;
const never = new Promise<never>(() => {});
const quick = { noticeIntervalMs: 800 };
const probe: Probe = {
  name: 'app',
  intervalMs: 1_600,
  timeoutMs: 100,
  run: async () => ({ status: 'passing', reason: '' }),
};

interface Source {
  readonly lastError: string | null;
}

const silentWatch: Store['watch'] = () => ({ [Symbol.asyncIterator]: () => ({ next: () => never }) });

/**
 * The clock of a loop that stands still: once armed, sleeps of these lengths that `file` asks for do not end until they are
 * aborted. Not before the agent is registered: a source that is retried at the start sleeps for any length.
 */
function blockingClock(file: string, fromMs: number, toMs: number) {
  const clock = shiftedClock();
  let blocked = 0;
  let armed = false;
  return {
    ...clock,
    blocked: () => blocked,
    arm(): void {
      armed = true;
    },
    sleep(delayMs: number, signal: AbortSignal): Promise<void> {
      const isMeant = armed && delayMs >= fromMs && delayMs <= toMs && new Error().stack?.includes(`/${file}:`);
      if (!isMeant) return clock.sleep(delayMs, signal);
      blocked += 1;
      return untilAborted(signal);
    },
  };
}

/** Loop, the file that sleeps for it, and the lengths of its sleeps under the intervals above: no two have both in common. */
const loops: readonly [name: string, file: string, fromMs: number, toMs: number][] = [
  ['imds', 'poll-source.ts', 180, 200],
  ['introspection', 'poll-source.ts', 360, 400],
  ['notices', 'poll-source.ts', 720, 800],
  // Until the next run is due: less after a run that came late.
  ['checks', 'run-probes.ts', 0, 1_600],
  ['publisher', 'cell.ts', 1_790, 1_999],
  ['registry', 'follower.ts', 30_000, 30_000],
];
suite('/healthz', () => {
  test('a loop that stands still for real fails /healthz, which names it and no other', {
    // Agents of one process take each other's turns: more of them, on a busy machine, would not even register in time.
    concurrency: 3,
  }, async (t) => {
    const blocks = async (t: TestContext, [name, file, fromMs, toMs]: (typeof loops)[number]) => {
      const world = await startWorld(t);
      const clock = blockingClock(file, fromMs, toMs);
      const network =
        name === 'registry' ? { ...flakyStore(world.store), watch: silentWatch } : flakyStore(world.store);
      const agent = await world.startAgent({ clock, network, probes: [probe], config: quick });
      clock.arm();
      if (name === 'registry') await getJson(`${agent.url}/v1/containerInstances`);
      await until('the loop stands', PATIENCE_MS, () => clock.blocked() > 0);
      assert.equal((await getJson(`${agent.url}/healthz`)).status, 200);
      let stoodBefore = 0;
      await until('only that loop is stuck', PATIENCE_MS, async () => {
        // A jump of the clock cuts short what is under way, such as a read of metadata, and may wake the loop once more:
        // the next jump waits until the loop stands again.
        if (clock.blocked() > stoodBefore) {
          stoodBefore = clock.blocked();
          clock.advance(LONG_MS);
        }
        const { status, body } = await getJson(`${agent.url}/healthz`);
        assert.deepEqual([status, body.loops.map((loop: { name: string }) => loop.name)], [503, [name]]);
        assert.match(body.detail, new RegExp(`loop ${name} made no step for \\d+ ms`));
        return true;
      });
    };
    await Promise.all(loops.map((loop) => t.test(loop[0], (tt) => blocks(tt, loop))));
  });

  test('store, IMDS and ecs-agent are away and a probe hangs: /healthz passes, for a restart mends nothing', {
    concurrency: 2,
  }, async (t) => {
    const outage = async (t: TestContext, fault: 'refuse' | 'hang') => {
      const world = await startWorld(t);
      const clock = shiftedClock();
      const hanging: Probe = { name: 'hang', intervalMs: 500, timeoutMs: 100, run: () => never };
      const agent = await world.startAgent({ clock, probes: [hanging, probe], config: { presenceTtlMs: 1_500 } });
      await getJson(`${agent.url}/v1/containerInstances`);
      agent.network.network = fault;
      await world.setFault({ imds: fault, introspection: fault });
      clock.advance(LONG_MS);
      const allAway = async () => {
        const { sources, checks } = await agent.self();
        const store = checks.find((check: { name: string }) => check.name === 'store');
        return sources.every(({ lastError }: Source) => lastError !== null) && store.status === 'critical';
      };
      const passing = async () => (await fetch(`${agent.url}/healthz`)).status === 200;
      await until(
        'all is known to be away, and all loops moved',
        PATIENCE_MS,
        async () => (await allAway()) && passing(),
      );
      assert.equal((await fetch(`${agent.url}/readyz`)).status, 503);
      const status = async (name: string) =>
        (await agent.self()).checks.find((check: { name: string }) => check.name === name)?.status;
      await until(
        'the hanging probe has failed three times',
        PATIENCE_MS,
        async () => (await status('hang')) === 'critical',
      );
      assert.deepEqual([await status('app'), await passing()], ['passing', true]);
    };
    await Promise.all((['refuse', 'hang'] as const).map((fault) => t.test(fault, (tt) => outage(tt, fault))));
  });

  test('a registry without a reader is no stuck loop, nor is one that is read again after a long time', async (t) => {
    const world = await startWorld(t);
    const clock = shiftedClock();
    const agent = await world.startAgent({ clock, config: { presenceTtlMs: 1_500 } });
    clock.advance(LONG_MS * 10);
    const names = async () => {
      const { body } = await getJson(`${agent.url}/v1/self`);
      return body.loops.map((loop: { name: string }) => loop.name);
    };
    assert.ok(!(await names()).includes('registry'));
    await until('the others have moved', PATIENCE_MS, async () => (await fetch(`${agent.url}/healthz`)).status === 200);
    // The store is slow, so that it is the start of the watch that counts, and not its first snapshot.
    agent.network.network = 'hang';
    const reader = new AbortController();
    fetch(`${agent.url}/v1/containerInstances`, { signal: reader.signal }).catch(() => {});
    await until('the registry runs', PATIENCE_MS, async () => (await names()).includes('registry'));
    assert.equal((await fetch(`${agent.url}/healthz`)).status, 200);
    reader.abort();
  });
});
