import assert from 'node:assert/strict';
import type { LookupAddress } from 'node:dns';
import { after, before, describe, it, test } from 'node:test';
import { systemClock } from '../../../src/lib/clock.ts';
import { lookupMember, membersOf, type Resolve } from '../../../src/store/etcd/addresses.ts';
import { resolveEtcdKv } from '../../../src/store/etcd/etcd-kv.ts';
import type { EtcdStoreConfig } from '../../../src/store/store-url.ts';
import { type Impostor, startSilentServer } from '../../support/etcd-impostors.ts';
import { never } from '../../support/etcd-kv.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { timed } from '../../support/machine-time.ts';
import { simulatedClock } from '../../support/simulated-clock.ts';

const addresses = (...texts: readonly string[]): readonly LookupAddress[] =>
  texts.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
const names =
  (...texts: readonly string[]): Resolve =>
  async () =>
    addresses(...texts);
const countOf = async (url: string, resolve: Resolve) => (await membersOf(url, resolve, systemClock, never)).length;

test('a name stands for as many members as it has addresses, or pairs of them', async () => {
  assert.equal(await countOf('http://etcd.example:2379', names('10.0.0.1')), 1);
  assert.equal(await countOf('http://etcd.example:2379', names('10.0.0.2', '10.0.0.1', '10.0.0.3')), 3);
  assert.equal(await countOf('http://localhost:2379', names('::1', '127.0.0.1')), 1);
  assert.equal(await countOf('http://etcd.example:2379', names('fd00::1', 'fd00::2', '10.0.0.1', '10.0.0.2')), 2);
  assert.equal(await countOf('http://etcd.example:2379', names('fd00::1', '10.0.0.1', '10.0.0.2')), 3);
  assert.equal(await countOf('http://etcd.example:2379', names('10.1.1.1', '10.1.1.1')), 1);
  assert.equal(await countOf('http://a:2379', names(...Array.from({ length: 100 }, (_, n) => `10.0.0.${n}`))), 16);
});

test('an address stands for itself and is not resolved; a name that has none counts once', async () => {
  const refuse: Resolve = () => Promise.reject(new Error('not found'));
  for (const url of ['http://10.0.0.1:2379', 'https://[fd00::1]:2379', 'http://nowhere.example:2379']) {
    assert.equal(await countOf(url, refuse), 1, url);
  }
});

test('opening waits for a name server that hangs for a second at most, and ends by its signal', async () => {
  const clock = simulatedClock();
  const hangs: Resolve = () => new Promise(() => {});
  const waiting = membersOf('http://etcd.example:2379', hangs, clock, never);
  await clock.advance(1_000);
  assert.equal((await waiting).length, 1);
  const controller = new AbortController();
  const aborted = membersOf('http://etcd.example:2379', hangs, clock, controller.signal);
  controller.abort(new Error('stop'));
  await assert.rejects(aborted, /stop/);
});

/** The addresses that one attempt to connect gets. */
function tried(lookup: ReturnType<typeof lookupMember>): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    lookup('etcd.example', { all: true }, (error, found) => {
      if (error) reject(error);
      else resolve((found as readonly LookupAddress[]).map(({ address }) => address));
    });
  });
}

test('each member keeps its address, in whatever order the name server gives them', async () => {
  let order = ['10.0.0.1', '10.0.0.2', 'fd00::2', 'fd00::1'];
  const resolve: Resolve = async () => addresses(...order);
  const members = (await membersOf('http://a:1', resolve, systemClock, never)).map((each) =>
    lookupMember(each, resolve),
  );
  for (let n = 0; n < 4; n += 1) {
    assert.deepEqual(
      (await Promise.all(members.map(tried))).map((each) => each.toSorted()),
      [
        ['10.0.0.1', 'fd00::1'],
        ['10.0.0.2', 'fd00::2'],
      ],
    );
    order = [...order.slice(1), ...order.slice(0, 1)];
  }
});

test('where the families differ, no address is tried by all members', async () => {
  const resolve = names('fd00::9', '10.0.0.1', '10.0.0.2', '10.0.0.3');
  const members = await membersOf('http://a:1', resolve, systemClock, never);
  const all = await Promise.all(members.map((each) => tried(lookupMember(each, resolve))));
  assert.deepEqual(all.flat().toSorted(), ['10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::9']);
});

test('a name that was resolved too late, or has more addresses now, is tried address by address', async () => {
  const lookup = lookupMember({ index: 0, count: 1 }, names('10.0.0.3', '10.0.0.1', '10.0.0.2'));
  const seen = [];
  for (let n = 0; n < 4; n += 1) seen.push(...(await tried(lookup)));
  assert.deepEqual(seen, ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.1']);
});

test('a lookup that fails says what the system says', async () => {
  const lookup = lookupMember({ index: 0, count: 1 }, () =>
    Promise.reject(Object.assign(new Error('getaddrinfo ENOTFOUND x'), { code: 'ENOTFOUND' })),
  );
  await assert.rejects(tried(lookup), { code: 'ENOTFOUND' });
});

describe('a name for two members, one of which hangs', () => {
  let server: EtcdServer;
  let silent: Impostor;
  before(async () => {
    server = await startEtcd();
    silent = await startSilentServer({ host: '127.0.0.2', port: Number(new URL(server.clientUrl).port) });
  });
  after(() => Promise.all([server.dispose(), silent.close()]));

  it('answers from the other in time, wherever it starts', async () => {
    const { port } = new URL(server.clientUrl);
    const config: EtcdStoreConfig = {
      kind: 'etcd',
      label: 'etcd://test',
      endpoints: [`http://etcd.example:${port}`],
      prefix: '/rollcall',
      tls: null,
      credentials: null,
    };
    for (const order of [
      ['127.0.0.1', '127.0.0.2'],
      ['127.0.0.2', '127.0.0.1'],
    ]) {
      for (const start of [0, 0.9]) {
        const deps = { clock: systemClock, random: () => start, resolve: names(...order) };
        const kv = await resolveEtcdKv(config, deps, never);
        const [page, tookMs] = await timed(kv.range({ prefix: '' }, never));
        await kv.close();
        assert.deepEqual(page.kvs, []);
        assert.ok(tookMs < 5_000, `${tookMs} ms`);
      }
    }
  });
});
