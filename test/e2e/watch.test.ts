import assert from 'node:assert/strict';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { storeConfig } from '../../src/config/store-flags.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { CloudEvent, InstanceData } from '../../src/record/cloud-event.ts';
import { openStore } from '../../src/store/open-store.ts';
import { type EtcdServer, startEtcd } from '../support/etcd-server.ts';
import { timed, until } from '../support/machine-time.ts';
import { PATIENCE_MS, type Running, rollcall, startRollcall } from '../support/rollcall-process.ts';
import { sampleInstanceId } from '../support/sample-record.ts';
import { type SampleWriter, sampleWriter, type WrittenNode } from '../support/sample-writer.ts';

const NEVER = new AbortController().signal;
/** What a test allows on top of a promise for processes that start on a busy machine. */
const LIMIT_MS = PATIENCE_MS;

interface World extends Pick<SampleWriter, 'register' | 'update'> {
  readonly dir: string;
  readonly url: string;
  /** null with an embedded store. */
  readonly etcd: EtcdServer | null;
  /** Because of a spot interruption; answers the revision. */
  depart(node: WrittenNode): Promise<string>;
  watch(args?: readonly string[], env?: Record<string, string>): Running;
  /** An executable shell script in the world's folder. */
  script(name: string, text: string): Promise<string>;
  /** What a script wrote there; empty while it has not. */
  read(name: string): Promise<string>;
}

async function world(t: TestContext, kind: 'etcd' | 'sqlite'): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-watch-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const etcd = kind === 'etcd' ? await startEtcd() : null;
  t.after(() => etcd?.dispose());
  const url = etcd ? etcd.clientUrl.replace('http', 'etcd') : `sqlite:${dir}/roll.db`;
  const deps = { clock: systemClock, random: Math.random, signal: NEVER, create: true };
  const store = await openStore(storeConfig({ store: url }), deps);
  t.after(() => store.close());
  const { register, update, depart } = sampleWriter(store);
  return {
    dir,
    url,
    etcd,
    register,
    update,
    depart: (node) => depart(node, 'spot-interruption'),
    watch: (args = [], env = {}) => startRollcall(t, ['watch', '--store', url, ...args], { OUT: dir, ...env }),
    async script(name, text) {
      await writeFile(join(dir, name), `#!/bin/sh\n${text}\n`);
      await chmod(join(dir, name), 0o755);
      return join(dir, name);
    },
    read: (name) => readFile(join(dir, name), 'utf8').catch(() => ''),
  };
}

function events(running: Running): CloudEvent[] {
  // The last line may not be whole yet.
  const whole = running.stdout().slice(0, running.stdout().lastIndexOf('\n') + 1);
  return whole
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
}

/** `registered i-00000001`, with a `*` in a snapshot. */
function brief(event: CloudEvent): string {
  const kind = event.type.split('.').at(-1);
  return [`${kind}${event.snapshot ? '*' : ''}`, ...(event.subject ? [event.subject] : [])].join(' ');
}

async function told(running: Running, expected: readonly string[], limitMs = LIMIT_MS): Promise<void> {
  try {
    await until(`${expected.length} events`, limitMs, () => events(running).length >= expected.length);
  } finally {
    assert.deepEqual(events(running).map(brief), expected, running.stderr());
  }
}

const [A, B, C] = [1, 2, 3].map(sampleInstanceId) as [string, string, string];

for (const kind of ['etcd', 'sqlite'] as const) {
  test(`${kind}: a watch prints the current roll, then each change, and ends by its signal`, async (t) => {
    const w = await world(t, kind);
    const a = await w.register(1);
    const watch = w.watch();
    await told(watch, [`registered* ${A}`, 'synced']);
    assert.deepEqual(events(watch)[1]?.data, { instanceIds: [A] });

    await w.register(2, {}, 2_000);
    await told(watch, [`registered* ${A}`, 'synced', `registered ${B}`]);
    const critical = { ...a.record.health, status: 'critical' } as const;
    const revision = await w.update(a, { health: critical });
    const departedAt = await w.depart(a);
    const all = [`registered* ${A}`, 'synced', `registered ${B}`, `health ${A}`, `departed ${A}`, `lost ${B}`];
    await told(watch, all);

    const [, , , health, departed] = events(watch);
    assert.equal(health?.revision, revision);
    assert.equal(departed?.revision, departedAt);
    const data = health?.data as InstanceData;
    assert.deepEqual([data.record?.health.status, data.previous?.health.status], ['critical', 'passing']);
    assert.equal(new Set(events(watch).map((event) => event.id)).size, all.length);

    watch.child.kill('SIGTERM');
    assert.equal((await watch.ended).code, 143);
    assert.match(watch.stderr(), /^rollcall watch: ended by SIGTERM\n$/m);
  });

  test(`${kind}: a watch killed during a handler repeats its event and skips none`, async (t) => {
    const w = await world(t, kind);
    const nodes = [await w.register(1), await w.register(2)];
    // Stops in the middle of B's departure until it may go on.
    const handler = await w.script(
      'handler',
      'echo "$ROLLCALL_EVENT_TYPE $ROLLCALL_EVENT_INSTANCE_ID" >>$OUT/seen\n' +
        `[ "$ROLLCALL_EVENT_CAUSE$ROLLCALL_EVENT_INSTANCE_ID" != spot-interruption${B} ] || [ -e $OUT/go ] || sleep 20`,
    );
    const args = ['--exec', handler, '--cursor', join(w.dir, 'cursor'), '--types', 'synced,departed,registered'];
    const first = w.watch(args);
    await until('the snapshot is handled', LIMIT_MS, async () => /synced/.test(await w.read('seen')));
    for (const node of nodes) await w.depart(node);
    await until('the handler is in the middle', LIMIT_MS, async () => (await w.read('seen')).includes(`departed ${B}`));
    await until('the cursor is saved', LIMIT_MS, async () => /"revision"/.test(await w.read('cursor')));
    first.child.kill('SIGKILL');
    await first.ended;
    await w.register(3);
    await writeFile(join(w.dir, 'go'), '');
    const before = await w.read('seen');

    const second = w.watch(args);
    await until('the rest is handled', LIMIT_MS, async () => (await w.read('seen')).includes(`registered ${C}`));
    const after = (await w.read('seen')).slice(before.length).trim().split('\n');
    assert.deepEqual(after.slice(-2), [`rollcall.instance.departed ${B}`, `rollcall.instance.registered ${C}`]);
    assert.ok(!after.includes('rollcall.roll.synced'), 'it went on where it stood, without a new snapshot');
    second.child.kill('SIGINT');
    assert.equal((await second.ended).code, 130);
    assert.equal(second.stdout(), '');
  });
}

test('a watch resumes after a revision and prints only the chosen types and cluster', async (t) => {
  const w = await world(t, 'etcd');
  const a = await w.register(1);
  const b = await w.register(2, { cluster: 'other' });
  const since = await w.update(a, { labels: { k: '1' } });
  await w.update(a, { labels: { k: '2' } });
  await w.update(b, { labels: { k: '2' } });
  await w.depart(b);
  await w.depart(a);
  const every = [`updated ${A}`, `updated ${B}`, `departed ${B}`, `departed ${A}`];
  await told(w.watch(['--since', since]), every);
  await told(w.watch(['--types', 'departed,rollcall.instance.lost'], { ROLLCALL_SINCE: since }), [
    `departed ${B}`,
    `departed ${A}`,
  ]);
  await told(w.watch(['--since', since, '--cluster', 'other']), [`updated ${B}`, `departed ${B}`]);
});

test('a handler that hangs is killed, one that fails is retried, a given-up event is named, and the next one follows', async (t) => {
  const w = await world(t, 'sqlite');
  const handler = await w.script(
    'handler',
    'echo "$ROLLCALL_EVENT_INSTANCE_ID" >>$OUT/seen\n' +
      `[ "$ROLLCALL_EVENT_INSTANCE_ID" != ${A} ] || sleep 20\n` +
      `[ "$ROLLCALL_EVENT_INSTANCE_ID" != ${B} ] || [ $(grep -c ${B} $OUT/seen) -eq 3 ] || exit 9\n` +
      'cat >$OUT/stdin; echo said by the handler',
  );
  for (const n of [1, 2, 3]) await w.register(n);
  const retries = { ROLLCALL_EXEC_RETRIES: '2', ROLLCALL_EXEC_TIMEOUT: '300ms' };
  const watch = w.watch(['--exec', handler, '--types', 'registered'], retries);
  await until('the last is handled', LIMIT_MS, async () => (await w.read('stdin')).includes(C));
  assert.equal(await w.read('seen'), [A, A, A, B, B, B, C, ''].join('\n'));
  assert.match(
    watch.stderr(),
    new RegExp(
      `^error: gave up event \\d+/${A}/registered/snapshot \\(rollcall.instance.registered of ${A}\\) after 3 attempts of \\S+/handler: not finished within 300ms; going on with the next$`,
      'm',
    ),
  );
  assert.equal(watch.stderr().match(/exit status 9; again in/g)?.length, 2);
  assert.doesNotMatch(watch.stderr(), new RegExp(`gave up .*${B}`));
  await until('its output comes out', LIMIT_MS, () => watch.stdout() === 'said by the handler\n'.repeat(2));
});

test('a handler that reads the roll uses the watch’s store', async (t) => {
  const w = await world(t, 'sqlite');
  await w.register(1);
  const list = `${process.cwd()}/scripts/rollcall list --no-legend --fields instance`;
  const handler = await w.script('handler', `${list} >$OUT/listed 2>&1`);
  w.watch(['--exec', handler, '--types', 'synced', '--cluster', 'demo']);
  await until('it has listed', LIMIT_MS, async () => (await w.read('listed')) !== '');
  assert.equal(await w.read('listed'), `${A}\n`);
});

test('SIGTERM during a handler ends the watch at once, kills the handler’s child processes and keeps the old cursor', async (t) => {
  const w = await world(t, 'sqlite');
  const handler = await w.script('handler', 'sleep 600 & echo $! >$OUT/child; wait');
  const a = await w.register(1);
  const watch = w.watch(['--exec', handler, '--types', 'departed', '--cursor', join(w.dir, 'cursor')]);
  await until('the snapshot is behind it', LIMIT_MS, async () => (await w.read('cursor')) !== '');
  const before = await w.read('cursor');
  await w.depart(a);
  await until('the handler runs', LIMIT_MS, async () => (await w.read('child')).endsWith('\n'));
  watch.child.kill('SIGTERM');
  const [{ code }, tookMs] = await timed(watch.ended);
  assert.equal(code, 143);
  // The handler would go on for ten minutes.
  assert.ok(tookMs < 20_000);
  const pid = (await w.read('child')).trim();
  await until('the child is gone', PATIENCE_MS, async () => {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') X');
    return /\) [XZ]/.test(stat);
  });
  assert.equal(await w.read('cursor'), before);
});

test('a closed pipe ends the watch without an error, and unread events are not finished', async (t) => {
  const w = await world(t, 'sqlite');
  const a = await w.register(1);
  const watch = w.watch(['--cursor', join(w.dir, 'cursor')]);
  await told(watch, [`registered* ${A}`, 'synced']);
  await until('the cursor is saved', LIMIT_MS, async () => (await w.read('cursor')) !== '');
  const before = await w.read('cursor');
  watch.child.stdout?.destroy();
  await w.update(a, { labels: {} });
  assert.equal((await watch.ended).code, 0);
  assert.doesNotMatch(watch.stderr(), /warning|error|EPIPE|rollcall watch/);
  assert.equal(await w.read('cursor'), before);
});

test('a reader that pauses costs no memory, and gets all events when it reads again', async (t) => {
  const w = await world(t, 'sqlite');
  // 9,000 updates take longer than a minute on a busy machine.
  const node = await w.register(1, {}, 3_600_000);
  // No room for garbage, so that what is resident is what is kept: on a busy machine it is collected late.
  const watch = w.watch([], { NODE_OPTIONS: '--max-semi-space-size=1 --max-old-space-size=80' });
  await told(watch, [`registered* ${A}`, 'synced']);
  watch.child.stdout?.pause();
  const padding = 'x'.repeat(120);
  const labels = Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`label-${n}`, padding]));
  const updates = 9_000; // more than a registry keeps, and less than the store does
  for (let count = 1; count <= updates; count += 1) await w.update(node, { labels: { ...labels, count: `${count}` } });
  const residentMb = Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${watch.pid}/status`, 'utf8'))?.[1]) / 1_000;
  assert.ok(residentMb < 150, `it takes ${residentMb} MB`);
  watch.child.stdout?.resume();
  const last = await w.depart(node);
  await until('the last event', 60_000, () => events(watch).at(-1)?.revision === last);
  const counts = events(watch)
    .filter((event) => event.type === 'rollcall.instance.updated')
    .map((event) => Number((event.data as InstanceData).record?.labels['count']));
  assert.deepEqual(
    counts,
    Array.from({ length: updates }, (_, index) => index + 1),
  );
});

test('the watch waits for a store that does not answer, at the start and later, with one line per change', async (t) => {
  const w = await world(t, 'etcd');
  await w.register(1);
  await w.etcd?.stop();
  const watch = w.watch();
  await until('it says so', LIMIT_MS, () => /trying again until the store answers/.test(watch.stderr()));
  await w.etcd?.restart();
  await told(watch, [`registered* ${A}`, 'synced']);
  await w.etcd?.stop();
  await until('it says so again', LIMIT_MS, () => watch.stderr().match(/trying again/g)?.length === 2);
  await w.etcd?.restart();
  await w.register(2);
  await told(watch, [`registered* ${A}`, 'synced', `registered ${B}`]);
  const lines = watch.stderr().trimEnd().split('\n');
  assert.equal(lines.length, 4, watch.stderr());
  assert.match(lines[0] ?? '', /^warning: .*127\.0\.0\.1.*refused.*; trying again until the store answers$/);
  assert.equal(lines[1], 'note: the store answers again');
});

test('wrong usage and unusable cursor files give one line and an exit status, and the file is not changed', async (t) => {
  const w = await world(t, 'sqlite');
  await w.register(1);
  const cursor = join(w.dir, 'cursor');
  const complains = async (
    args: readonly string[],
    code: number,
    pattern: RegExp,
    env: Record<string, string> = {},
  ) => {
    const result = await rollcall(['watch', ...args], { ROLLCALL_STORE: w.url, ...env });
    assert.match(result.stderr, pattern);
    assert.equal(result.code, code, result.stderr);
    assert.equal(result.stdout, '');
    assert.equal(result.stderr.trimEnd().split('\n').length, 1, result.stderr);
  };
  await complains(
    ['--since', 'yesterday'],
    2,
    /'yesterday' is invalid. It must be a store revision.*0 to 9223372036854775807/,
  );
  await complains(['--since', '-1'], 2, /--since/);
  await complains(
    ['--since', '999999'],
    2,
    /resume after revision 999999: the store is at \d+, so it is another store/,
  );
  await complains(
    ['--types', 'lost,gone'],
    2,
    /unknown event type "gone"; use one of registered, restarted, updated, .*certain/,
  );
  await complains([], 2, /ROLLCALL_TYPES.*unknown event type "no"/, { ROLLCALL_TYPES: 'no' });
  await complains(['--cursor', ''], 2, /--cursor.*It is empty/);
  await complains(['--cluster', ''], 2, /--cluster.*cluster has an empty value/);
  await complains(['--exec', 'no-such-handler -x'], 2, /--exec no-such-handler: no such program on PATH \(\/.*\)/);
  await complains(['--exec', `${w.dir}/none`], 2, /none: no executable file at this path/);
  await complains(['--exec', "sh -c 'echo"], 2, /--exec.*not closed/);
  await complains(['--exec', 'true', '--exec-timeout', '5'], 2, /Write a duration/);
  await complains(['--exec', 'true', '--exec-retries', 'many'], 2, /whole number/);
  await complains(
    ['--since', '1', '--cursor', cursor],
    2,
    /--since 1 and --cursor .* exclude each other; remove one of them/,
  );
  await complains(
    ['--cursor', `${w.dir}/none/cursor`],
    2,
    /none\/cursor: .*use a file in an existing, writable folder/,
  );
  await complains(['--mass-loss-share', '0.3'], 2, /Write a percentage/);
  await complains(['--store', `sqlite:${w.dir}/other.db`], 1, /other\.db.*there is no such file/);

  const watch = w.watch(['--cursor', cursor]);
  await until('there is a cursor', LIMIT_MS, async () => (await w.read('cursor')) !== '');
  await complains(['--cursor', cursor], 1, /cursor: another rollcall watch holds .*cursor\.lock; use a separate/);
  watch.child.kill('SIGTERM');
  await watch.ended;
  const good = JSON.parse(await w.read('cursor'));
  const bad: [string, RegExp][] = [
    ['', /cursor: it is empty; remove the file/],
    ['{"version":1,"store":"x","rev', /not JSON, or truncated/],
    [JSON.stringify({ ...good, version: 9 }), /its version is "9"/],
    [JSON.stringify({ ...good, revision: 'abc' }), /its revision is "abc"/],
    [
      JSON.stringify({ ...good, store: 'another' }),
      /it belongs to the store another, but sqlite:.* is the store [0-9a-f]{32}; remove/,
    ],
    [JSON.stringify({ ...good, revision: '999999' }), /its revision 999999 is ahead of the store’s, \d+.*; remove/],
  ];
  for (const [text, pattern] of bad) {
    await writeFile(cursor, text);
    await complains(['--cursor', cursor], 2, pattern);
    assert.equal(await w.read('cursor'), text);
  }
});

type Told = () => ReturnType<typeof events>;

test('a mass loss gives uncertain, and lost at once with a mark, or held back for one TTL; with the limit off none is uncertain', async (t) => {
  const w = await world(t, 'sqlite');
  const kinds = ['--types', 'synced,lost,uncertain,certain'];
  const watches = [
    w.watch([...kinds, '--hold', 'on']),
    w.watch([...kinds, '--mass-loss-share', 'off']),
    w.watch(kinds),
  ];
  // Before a node is lost, which a slow start would find in its snapshot.
  for (const each of watches) await until('it has begun', LIMIT_MS, () => events(each).length === 1);
  const [guarded, plain, facts] = watches.map((each) => () => events(each).slice(1)) as [Told, Told, Told];
  for (let n = 0; n < 10; n += 1) await w.register(n, {}, n < 6 ? 2_000 : 60_000);
  const lost = [0, 1, 2, 3, 4, 5].map((n) => `lost ${sampleInstanceId(n)}`);
  await until('all are lost', LIMIT_MS, () => plain().length === lost.length);
  assert.deepEqual(plain().map(brief), lost);
  await until('it is certain', LIMIT_MS, () => guarded().some(({ type }) => type === 'rollcall.roll.certain'));
  await until('all are lost', LIMIT_MS, () => guarded().length >= lost.length + 2);
  await until('the facts are whole', LIMIT_MS, () => facts().length >= lost.length + 2);
  const told = facts().map(brief);
  assert.equal(told[0], 'uncertain', told.join(', '));
  assert.deepEqual(told.filter((line) => line.startsWith('lost')).sort(), lost);
  const marked = facts().filter(({ data }) => (data as { uncertain?: true }).uncertain);
  assert.equal(marked.length, lost.length);
  const order = guarded().map(brief);
  assert.equal(order[0], 'uncertain', order.join(', '));
  assert.deepEqual(order.filter((line) => line.startsWith('lost')).sort(), lost);
});

test('list notes on stderr that so many nodes are lost that the store may have failed', async (t) => {
  const w = await world(t, 'sqlite');
  for (let n = 0; n < 10; n += 1) await w.register(n, {}, n < 6 ? 1_000 : 60_000);
  const list = (...args: string[]) => rollcall(['list', '--no-legend', '--store', w.url, ...args]);
  await until('six are lost', LIMIT_MS, async () => (await list()).stdout.trimEnd().split('\n').length === 4);
  const { code, stdout, stderr } = await list();
  assert.equal(code, 0);
  assert.equal(
    stderr,
    'note: 6 of 10 nodes are lost (60%, more than 30%): if this is new, the store or the network may have failed, and running agents are back within 60s; --all shows the lost nodes\n',
  );
  assert.equal((await list('--mass-loss-share', 'off')).stderr, '');
  assert.equal((await list('--mass-loss-count', '7')).stderr, '');
  assert.equal((await list('--log-level', 'error')).stderr, '');
  assert.equal((await list('--mass-loss-share', 'off')).stdout, stdout);
});
