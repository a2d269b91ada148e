import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RpcError } from '../../src/store/etcd/channel.ts';
import { WATCH } from '../../src/store/etcd/rpc.ts';
import type { Cluster } from './etcd/cluster.ts';
import type { WatchSink } from './etcd/watches.ts';
import { createHost } from './host.ts';
import { createNetwork, DEAD_AFTER_MS } from './network.ts';
import { createScheduler } from './scheduler.ts';

/** A watch through the network, of which the test is the member that answers it. */
async function openWatch() {
  const scheduler = createScheduler();
  let sink: WatchSink | null = null;
  const cluster = {
    size: 1,
    state: () => 'up',
    watch(_member: number, _messages: readonly Buffer[], opened: WatchSink) {
      sink = opened;
      return { close: () => {} };
    },
  } as unknown as Cluster;
  const network = createNetwork(scheduler, () => 0.5, cluster);
  const host = createHost('host', scheduler);
  const { signal } = new AbortController();
  const answers = network.channel('host', host.start(), 0).stream(WATCH, [], {}, signal);
  const pass = (ms: number) => scheduler.run(scheduler.nowMs() + ms, () => {});
  const sends = async (text: string) => {
    sink?.send(Buffer.from(text));
    await pass(10);
  };
  const first = answers.next();
  await pass(10);
  await sends('created');
  assert.equal(String((await first).value), 'created');
  return { network, host, answers, sends, pass };
}

/** What comes until the stream fails. */
async function rest(answers: AsyncIterator<Buffer>): Promise<readonly string[]> {
  const texts: string[] = [];
  try {
    for (;;) texts.push(String((await answers.next()).value));
  } catch (error) {
    return [...texts, (error as RpcError).message];
  }
}

test('after its connection is dead a watch brings what had arrived before, and nothing that was sent later', async () => {
  const { network, answers, sends, pass } = await openWatch();
  await sends('arrived');
  network.cut('host', 0, 'silent');
  await sends('dropped');
  await pass(DEAD_AFTER_MS);
  await sends('sent later');
  network.cut('host', 0, null);
  await pass(10);

  const got = await rest(answers);

  assert.equal(got[0], 'arrived');
  assert.match(String(got[1]), /Connection dropped/);
});
