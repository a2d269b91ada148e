import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ConnectionRead, judgeEcsConnection, NO_DOUBT } from '../../../src/audit/fleet-audit/connection-check.ts';
import {
  afterFailedPoll,
  afterPoll,
  CONNECTION_LIMITS,
  type Connections,
  type Disconnected,
  encodeShared,
  rememberedConnections,
  toldConnections,
} from '../../../src/audit/fleet-audit/connections.ts';

const MINUTE_MS = 60_000;
const START_MS = Date.parse('2026-01-01T00:00:00Z');
const at = (minute: number) => ({ nowMs: minute * MINUTE_MS, wallMs: START_MS + minute * MINUTE_MS });
const ARN = 'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/a';
const node = { instanceId: 'i-00000001', containerInstanceArn: ARN, present: true };
const none = rememberedConnections(new Map());

const poll = (disconnected: readonly Disconnected[], gone: readonly string[] = []) => ({
  ...{ clusters: ['demo'], disconnected, gone },
});

/** Looks one minute apart, from `from` on: `x` disconnected, `.` connected, `!` no answer, `-` deregistered. */
function looks(pattern: string, before: Connections = none, from = 0): Connections {
  return [...pattern].reduce((state, look, index) => {
    if (look === '!') return afterFailedPoll(state, 'throttled', at(from + index));
    const answer = poll(look === 'x' ? [node] : [], look === '-' ? [ARN] : []);
    return afterPoll(state, answer, at(from + index), CONNECTION_LIMITS);
  }, before);
}

const told = (state: Connections, by = 'leader') =>
  toldConnections(state, by, CONNECTION_LIMITS).get(node.instanceId) ?? null;
const lastedOf = (state: Connections) => JSON.parse(told(state) ?? '{}').registrations?.[0].lastedMs ?? null;

test('a disconnection is published from the second poll on, and counted up to five minutes', () => {
  assert.deepEqual(
    ['x', 'xx', 'xxxxx', 'xxxxxx', 'xxxxxxxxx'].map((pattern) => lastedOf(looks(pattern))),
    [null, 60_000, 240_000, 300_000, 300_000],
  );
  assert.equal(JSON.parse(told(looks('..xx')) ?? '').registrations[0].since, '2026-01-01T00:02:00.000Z');
});

test('an hour of short disconnections tells the node nothing', () => {
  let state = none;
  for (let minute = 0; minute < 60; minute += 1) {
    state = looks(minute % 3 === 0 ? 'x' : '.', state, minute);
    assert.equal(told(state), null);
  }
});

test('what lasts is written only while it is counted, and one look that sees it connected ends it', () => {
  const texts = ['xxxxxx', 'xxxxxxx', 'xxxxxxxxxxxx'].map((pattern) => told(looks(pattern)));
  assert.equal(new Set(texts).size, 1);
  assert.equal(told(looks('xxxxxxx.')), null);
  assert.equal(lastedOf(looks('xxxxxxx.xx')), 60_000);
});

test('a new leader counts on from what the node has read, by its own clock, and not the time between', () => {
  const remembered = rememberedConnections(new Map([[node.instanceId, told(looks('xxxx'), 'old') ?? '']]));
  // Its monotonic clock and its wall clock are others.
  const taken = looks('x', remembered, 5_000);
  assert.deepEqual([lastedOf(taken), lastedOf(looks('xxx', remembered, 5_000))], [180_000, 300_000]);
  assert.equal(JSON.parse(told(taken) ?? '').registrations[0].since, '2026-01-01T00:00:00.000Z');
  assert.notEqual(told(taken, 'new'), told(looks('xxxx'), 'old'), 'each leader confirms it');
  assert.equal(rememberedConnections(new Map([['i-1', '{']])).known.size, 0);
});

test('polls that fail are published after three in a row, and the time that nothing was seen in hardly counts', () => {
  assert.equal(looks('xx!!').failing, null);
  const failing = looks('xx!!!!!!');
  assert.deepEqual(failing.failing, { since: '2026-01-01T00:04:00.000Z', reason: 'throttled' });
  const after = looks('x', failing, 8);
  assert.deepEqual([after.failing, lastedOf(after)], [null, 180_000]);
});

const crowdOf = (present: boolean) =>
  Array.from({ length: 3_000 }, (_, n) => ({
    instanceId: `i-${(n + (present ? 16 : 16_000)).toString(16).padStart(8, '0')}`,
    containerInstanceArn: `${ARN}${present}${n}`,
    present,
  }));
const look = (state: Connections, seen: readonly Disconnected[], minute: number) =>
  afterPoll(state, poll(seen), at(minute), CONNECTION_LIMITS);

test('of more than 2,000 hosts that are gone those that are disconnected longest are published', () => {
  const crowd = crowdOf(false);
  const gone = { ...node, present: false };
  const first = look(none, [gone], 0);
  const state = look(look(first, [...crowd, gone], 1), [...crowd, gone], 2);
  assert.equal(state.known.size, 2_000);
  assert.equal(lastedOf(state), 120_000);
});

test('of present nodes all are published, however many are disconnected at once: one that is not known would pass', () => {
  const crowd = crowdOf(true);
  let state = none;
  for (let minute = 0; minute < 6; minute += 1) state = look(state, [...crowd, ...crowdOf(false), node], minute);
  const published = toldConnections(state, 'leader', CONNECTION_LIMITS);
  const isCritical = ({ instanceId }: Disconnected) => /"critical":true/.test(published.get(instanceId) ?? '');
  assert.equal([...crowd, node].filter(isCritical).length, 3_001);
  assert.equal(published.size, 5_001);
});

test('a present node is published however many hosts that are gone ECS has disconnected for longer', () => {
  const crowd = crowdOf(false);
  let state = none;
  for (let minute = 0; minute < 10; minute += 1) state = look(state, crowd, minute);
  for (let minute = 10; minute < 16; minute += 1) state = look(state, [...crowd, node], minute);
  assert.equal(state.known.size, 2_001);
  assert.equal(lastedOf(state), 300_000);
});

const TTL_MS = 30_000;
const leader = { session: 'leader', instanceId: 'i-9' };
const shared = (failing: { since: string; reason: string } | null = null, clusters: readonly string[] | null = null) =>
  encodeShared({ by: 'leader', sequence: 1, failing, clusters });

/** The check after reads, each at its own minute; the last one is judged a moment after it. */
function check(
  ...reads: readonly { minute?: number; read: Partial<ConnectionRead>; arn?: string | null; lateMs?: number }[]
) {
  let doubt = NO_DOUBT;
  let text: string | null = null;
  for (const { minute = 0, read, arn = ARN, lateMs = 0 } of reads) {
    const atMs = minute * MINUTE_MS;
    const judged = judgeEcsConnection(doubt, {
      read: { atMs, holder: leader, shared: shared(), own: null, ...read },
      node: { containerInstanceArn: arn, cluster: 'demo' },
      ...{ nowMs: atMs + lateMs, presenceTtlMs: TTL_MS, spreadMs: 30_000 },
    });
    doubt = judged.doubt;
    text =
      judged.seen === undefined
        ? null
        : judged.seen === null
          ? 'no check'
          : `${judged.seen.status} ${judged.seen.reason}`.trim();
  }
  return text;
}

test('the check is a warning once the node has read of it, and critical after five minutes', () => {
  const told4 = told(looks('xxxxx'));
  const told5 = told(looks('xxxxxx'));
  const since = 'ECS has ecs-agent disconnected since 2026-01-01T00:00:00.000Z';
  assert.equal(check({ read: { shared: null } }), null);
  assert.equal(check({ read: {} }), 'passing');
  assert.equal(check({ read: { own: told4 } }), `warning ${since}`);
  assert.equal(check({ read: { own: told5 } }), `critical ${since}, for more than 5m`);
  // A former registration that lingers in ECS says nothing of the node as it is.
  assert.equal(check({ read: { own: told5 }, arn: `${ARN}b` }), 'passing');
  assert.equal(check({ read: { own: told5 }, arn: null }), 'passing');
});

test('what the leader of now has not confirmed is a warning at most, and says so', () => {
  const own = told(looks('xxxxxx'));
  const since = 'warning ECS has ecs-agent disconnected since 2026-01-01T00:00:00.000Z, as last seen; ';
  const changing = `${since}the agent that audits has changed, and the new one has not asked ECS yet`;
  assert.equal(check({ read: { own, holder: null } }), `${since}no agent audits now`);
  assert.equal(check({ read: { own, holder: { session: 'new', instanceId: null } } }), changing);
  assert.equal(check({ read: { own: told(looks('xxxxxx'), 'old') } }), changing);
  assert.equal(check({ read: { own }, lateMs: 2 * TTL_MS + 1 }), `${since}the store has not been read since`);
  const failing = shared({ since: '2026-01-01T00:04:00.000Z', reason: 'throttled' });
  assert.equal(
    check({ read: { own, shared: failing } }),
    `${since}no agent could ask ECS since 2026-01-01T00:04:00.000Z: throttled`,
  );
  assert.match(check({ read: { own, shared: '{' } }) ?? '', /^warning .*cannot be read/);
  assert.match(check({ read: { own: '{' } }) ?? '', /^warning .*cannot be read/);
});

test('a node that has read nothing passes while leaders change, and warns once nothing was known for three minutes', () => {
  const gone = { holder: null };
  const failing = { shared: shared({ since: 'S', reason: 'throttled' }) };
  assert.equal(check({ minute: 0, read: gone }, { minute: 3, read: gone }), 'passing');
  assert.equal(check({ minute: 0, read: gone }, { minute: 4, read: gone }), 'warning not known: no agent audits now');
  assert.equal(
    check({ minute: 0, read: gone }, { minute: 4, read: failing }),
    'warning not known: no agent could ask ECS since S: throttled',
  );
  assert.equal(check({ minute: 0, read: gone }, { minute: 2, read: {} }, { minute: 4, read: gone }), 'passing');
  assert.equal(check({ minute: 0, read: gone }, { minute: 4, read: gone }, { minute: 5, read: {} }), 'passing');
});

test('in half an hour in which no leader can ask ECS the reason stays the same, although the leaders change', () => {
  const leads = (name: string) => ({ holder: { session: name, instanceId: null } });
  const deaf = (name: string, minute: number) => {
    const failing = { since: `${minute}`, reason: `no answer to ${name}` };
    return { ...leads(name), shared: encodeShared({ by: name, sequence: 1, failing, clusters: null }) };
  };
  const reads: { minute: number; read: Partial<ConnectionRead> }[] = [{ minute: 0, read: {} }];
  // Each leader resigns after five polls, and the next one tells of it after three.
  let last: Partial<ConnectionRead> = deaf('leader', 3);
  reads.push({ minute: 3, read: last }, { minute: 4, read: last });
  for (let minute = 5; minute < 33; minute += 5) {
    const name = `leader ${minute}`;
    reads.push({ minute, read: { ...last, holder: null } });
    reads.push(...[1, 2].map((after) => ({ minute: minute + after, read: { ...last, ...leads(name) } })));
    last = deaf(name, minute + 3);
    reads.push(...[3, 4].map((after) => ({ minute: minute + after, read: last })));
  }
  const saidOf = (own: string | null) =>
    reads.map((_, index) =>
      check(...reads.slice(0, index + 1).map((each) => ({ ...each, read: { ...each.read, own } }))),
    );
  const steps = (said: readonly (string | null)[]) => said.filter((text, index) => text !== said[index - 1]);
  assert.deepEqual(steps(saidOf(null)), [
    'passing',
    'warning not known: no agent could ask ECS since 3: no answer to leader',
  ]);
  const since = 'ECS has ecs-agent disconnected since 2026-01-01T00:00:00.000Z';
  assert.deepEqual(steps(saidOf(told(looks('xxxxxx')))), [
    `critical ${since}, for more than 5m`,
    `warning ${since}, as last seen; no agent could ask ECS since 3: no answer to leader`,
  ]);
  const after = [...reads, { minute: 36, read: {} }, { minute: 37, read: { holder: null } }];
  assert.equal(check(...after), 'passing', 'the next doubt is another');
});

test('what an agent learns of ECS counts for more than that no agent audits, and that for more than that its store was away', () => {
  const gone = { holder: null };
  const failing = { shared: shared({ since: 'S', reason: 'throttled' }) };
  const silent = { minute: 0, read: {}, lateMs: 2 * TTL_MS + 1 };
  const unaudited = [silent, { minute: 4, read: gone }, { minute: 9, read: gone }];
  assert.equal(check(...unaudited), 'warning not known: no agent audits now');
  const deaf = 'warning not known: no agent could ask ECS since S: throttled';
  assert.equal(check(...unaudited, { minute: 12, read: failing }), deaf);
  // It is true also where no agent audits any more, and so nothing is written when they stop.
  assert.equal(check(...unaudited, { minute: 12, read: failing }, { minute: 600, read: gone }), deaf);
});

test('a disconnection does not end because the container instance was deregistered', () => {
  const own = told(looks('xxxxxx---'));
  assert.equal(own, told(looks('xxxxxx')));
  assert.match(check({ read: { own } }) ?? '', /^critical /);
  assert.equal(told(looks('xxxxxx--.')), null);
});

test('a node that the last audit found to be a stray does not pass, until it is registered anew', () => {
  const strays = new Map([[node.instanceId, ARN]]);
  const docOf = (state: Connections) =>
    toldConnections(state, 'leader', CONNECTION_LIMITS, strays).get(node.instanceId) ?? null;
  const own = docOf(looks('..'));
  assert.equal(check({ read: { own } }), 'warning ECS does not have its container instance, as the last audit found');
  assert.equal(check({ read: { own }, arn: `${ARN}b` }), 'passing');
  assert.match(check({ read: { own: docOf(looks('xxxxxx')) } }) ?? '', /^critical /);
  assert.equal(rememberedConnections(new Map([[node.instanceId, own ?? '']])).known.size, 0);
});

test('a node of a cluster that ECS is not asked about has no such check', () => {
  const asked = (...clusters: string[]) => ({ read: { shared: shared(null, clusters) } });
  const clusterArn = (region: string, name: string) => `arn:aws:ecs:${region}:123456789012:cluster/${name}`;
  assert.equal(check(asked('demo', 'other')), 'passing');
  assert.equal(check(asked(clusterArn('us-east-1', 'demo'))), 'passing');
  assert.equal(check(asked('other')), 'no check');
  assert.equal(check(asked(clusterArn('eu-west-1', 'demo'))), 'no check');
  assert.equal(check({ ...asked('other'), arn: null }), null, 'as long as its ARN is not known what was said stays');
  const failing = { read: { shared: shared({ since: 'S', reason: 'denied' }, ['other']) } };
  assert.equal(check({ minute: 0, ...failing }, { minute: 9, ...failing }), 'no check');
});

test('the clusters are in the document that every agent reads, unless there are too many, and the next leader knows them', () => {
  const state = (clusters: readonly string[]) =>
    afterPoll(none, { clusters, disconnected: [], gone: [] }, at(0), CONNECTION_LIMITS).clusters;
  assert.deepEqual(state(['b', 'a']), ['a', 'b']);
  assert.equal(state(Array.from({ length: 101 }, (_, n) => `c${n}`)), null);
  assert.deepEqual(rememberedConnections(new Map(), shared(null, ['a'])).clusters, ['a']);
  // Of an earlier version, and one that cannot be read.
  const earlier = JSON.stringify({ schemaVersion: 1, by: 'leader', sequence: 1, failing: null });
  for (const text of [earlier, '{', null]) assert.equal(rememberedConnections(new Map(), text).clusters, null);
  assert.equal(check({ read: { shared: earlier } }), 'passing');
});
