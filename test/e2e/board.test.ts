import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { sharedStoreStatus } from '../../src/audit/fleet-status.ts';
import { NO_ACCESS_FILES, openAccess } from '../../src/http/access.ts';
import { agentRoutes } from '../../src/http/routes/agent-routes.ts';
import { startHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { NodeRecord } from '../../src/record/record.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Hold } from '../../src/store/store.ts';
import { openPage, startBrowser, takePictures } from '../support/browser.ts';
import { freePorts } from '../support/etcd-ports.ts';
import { startEtcd } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { agentUrl, PATIENCE_MS, startRollcall } from '../support/rollcall-process.ts';
import { sampleRecord, spreadInstanceId } from '../support/sample-record.ts';
import { sampleReport } from '../support/sample-report.ts';
import { startEcsSimulation } from '../support/start-ecs-simulation.ts';

const { signal } = new AbortController();
const BOARD = fileURLToPath(new URL('../../dist/board.html.gz', import.meta.url));

/** A time of day as the page writes it, with the date in a run that crosses midnight. */
const MOMENT = String.raw`(?:\w+ \d+ )?\d\d:\d\d:\d\d`;

/** The number on a tile. */
async function tile(page: Page, name: string): Promise<number> {
  const text = await page.locator(`.tile.${name} b`).textContent();
  return Number(text?.replaceAll(',', ''));
}

function tiles(page: Page, expected: Readonly<Record<string, number>>, limitMs = PATIENCE_MS): Promise<number> {
  return until(`the tiles say ${JSON.stringify(expected)}`, limitMs, async () => {
    const found: Record<string, number> = {};
    for (const name of Object.keys(expected)) found[name] = await tile(page, name);
    assert.deepEqual(found, expected);
    return true;
  });
}

async function banner(page: Page, words: RegExp): Promise<void> {
  await until(`a banner says ${words}`, PATIENCE_MS, async () =>
    words.test(await page.locator('.banners').innerText()),
  );
}

/** The page is not wider than its window, which a reader would have to move to and fro. */
async function fits(page: Page, width: number): Promise<void> {
  await page.setViewportSize({ width, height: 900 });
  const overhang = await page.evaluate<number>('document.documentElement.scrollWidth - window.innerWidth');
  assert.ok(overhang <= 0, `${overhang} px too wide at ${width}`);
}

test('the board shows real agents: a drain, a loss, a store that is away, an agent that restarts', async (t) => {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const simulation = await startEcsSimulation(t);
  const [port = 0] = await freePorts(1);
  const startAgent = (n: number, listen: string) => {
    const { imdsEndpoint, introspectionEndpoint } = simulation.simulator.nodes[n] ?? assert.fail();
    const args = [
      ...['agent', '--store', etcd.clientUrl.replace('http', 'etcd'), '--presence-ttl', '3s', '--listen', listen],
      ...['--metadata-endpoint', imdsEndpoint, '--introspection-endpoint', introspectionEndpoint],
      ...['--docker-socket', 'off', '--notice-interval', '1s', '--introspection-interval', '1s'],
      ...['--drain-on', 'interruption'],
    ];
    return startRollcall(t, args, { ...simulation.env });
  };
  let shown = startAgent(0, `127.0.0.1:${port}`);
  startAgent(1, '127.0.0.1:0');
  const third = startAgent(2, '127.0.0.1:0');
  const origin = await agentUrl(shown);
  const browser = await startBrowser(t);
  const { page, complaints } = await openPage(browser, origin);
  await page.goto(origin);
  await tiles(page, { present: 3, passing: 3, lost: 0, draining: 0 });
  assert.equal(await page.locator('.squares i.passing').count(), 3);
  const draining = simulation.simulator.nodes[1]?.node.instanceId ?? '';
  simulation.simulator.setNotices(draining, { spot: { action: 'terminate', time: '2026-11-22T10:26:18Z' } });
  await tiles(page, { notices: 1, draining: 1 });
  assert.match(await page.locator('.lines').innerText(), /interruption[\s\S]*spot-interruption terminate/);
  await page.locator('.tabs button', { hasText: 'Drains' }).click();
  assert.match(await page.locator('.findings').innerText(), new RegExp(`drained\\s+${draining}\\s+demo`));

  third.child.kill('SIGKILL');
  await tiles(page, { present: 2, lost: 1 });
  await page.locator('.tabs button', { hasText: 'Nodes' }).click();
  assert.match(await page.locator('.nodes tbody tr').first().innerText(), /was passing[\s\S]*lost/);
  assert.match(await page.title(), /^1 not well/);
  await takePictures(page, 'three-nodes');

  await etcd.stop('SIGKILL');
  await banner(page, new RegExp(`The store does not answer.*as of ${MOMENT}`));
  assert.match(await page.locator('.fresh').innerText(), /stale/);
  await takePictures(page, 'store-away');
  await etcd.restart();
  await until('the board is live again', PATIENCE_MS, async () =>
    /live/.test(await page.locator('.fresh').innerText()),
  );
  // The drains are asked for every 10 s.
  await banner(page, /^\s*$/);

  shown.child.kill('SIGKILL');
  await banner(page, /Not connected.*does not answer.*reconnects by itself/);
  shown = startAgent(0, `127.0.0.1:${port}`);
  await until('the board is connected again', PATIENCE_MS, async () =>
    /live/.test(await page.locator('.fresh').innerText()),
  );
  await tiles(page, { present: 2, lost: 1 });
  assert.deepEqual(complaints, []);
});

const HOSTILE = '<img src=x onerror="window.hacked=1">\u202e</script><script>window.hacked=1</script>';
const ZONES = ['us-east-1a', 'us-east-1b', 'us-east-1c'];

function recordOf(n: number, status: 'passing' | 'warning' | 'critical', reason: string): NodeRecord {
  // By its own clock, which is an hour behind: more than five minutes ago, as an answer has whole seconds in `Date`.
  const isSlow = n === 3;
  const since = isSlow ? new Date(Date.now() - 65.5 * 60_000).toISOString() : '2026-11-01T00:00:00.000Z';
  const ec2InstanceId = spreadInstanceId(n);
  return sampleRecord({
    ec2InstanceId,
    clockSkewSeconds: isSlow ? -3_600 : 0,
    cluster: n % 4 === 0 ? 'batch' : 'demo',
    privateIpAddress: `10.113.${n >> 8}.${n & 255}`,
    availabilityZone: ZONES[n % 3] ?? null,
    containerInstanceArn: `arn:aws:ecs:us-east-1:123456789012:container-instance/demo/${ec2InstanceId.slice(2)}`,
    labels: { role: n % 5 === 0 ? 'edge' : 'node', ...(n === 1 ? { note: HOSTILE } : {}) },
    health: { status, since, checks: [{ name: 'disk', status, reason, since }] },
  });
}

/** An agent in this process, with so many nodes in a store of its own. */
async function startRoll(t: TestContext, count: number, tokenFile: string | null = null) {
  const config = { kind: 'memory', label: 'memory:', name: t.name } as const;
  const store = await openStore(config, { clock: systemClock, random: Math.random, signal, create: true });
  const holds: Hold[] = [];
  for (let n = 1; n <= count; n += 1) {
    const status = n === 1 || n % 50 === 0 ? 'critical' : n % 25 === 0 ? 'warning' : 'passing';
    const record = recordOf(n, status, status === 'passing' ? '' : n === 1 ? HOSTILE : '9 % free');
    const { ec2InstanceId: instanceId, registeredAt: since } = record;
    const registration = { instanceId, session: `s${n}`, since, ttlMs: 600_000, retentionMs: 3_600_000 };
    const outcome = await store.register(registration, record, { takeover: true, signal });
    assert.ok(outcome.kind === 'registered');
    holds.push(outcome.hold);
  }
  const registry = createRegistry({ store, clock: systemClock, random: Math.random });
  const server = await startHttpServer({
    listen: { host: '127.0.0.1', port: 0 },
    routes: agentRoutes({
      report: () => sampleReport(),
      registry,
      residentBytes: () => 1,
      storeStatus: sharedStoreStatus(store, systemClock),
      boardFile: BOARD,
      clock: systemClock,
      random: Math.random,
    }),
    clock: systemClock,
    onError: (error) => t.diagnostic(String(error)),
    access: await openAccess({ ...NO_ACCESS_FILES, tokenFile }, systemClock),
  });
  t.after(async () => {
    await server.close();
    await registry.close();
    await store.close();
  });
  const update = (n: number, status: 'passing' | 'warning' | 'critical', reason: string) =>
    store.update(holds[n - 1] ?? assert.fail(), recordOf(n, status, reason), signal);
  return { url: server.url, update };
}

test('10,000 nodes are searched, filtered, sorted and copied, and an event changes only what it must', async (t) => {
  const { url, update } = await startRoll(t, 10_000);
  const browser = await startBrowser(t);
  const { page, context, complaints } = await openPage(browser, url);
  // The first read of an agent starts its watch; a board is opened beside others.
  await (await fetch(`${url}/v1/containerInstances`)).arrayBuffer();
  await page.goto(url);
  await tiles(page, { present: 10_000, critical: 201, warning: 200 }, 5_000);
  const paintMs = await page.evaluate<number>(
    "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1",
  );
  t.diagnostic(`first contentful paint after ${Math.round(paintMs)} ms`);
  assert.ok(paintMs >= 0);
  const rows = page.locator('.nodes tbody tr:not(.gap)');
  assert.ok((await rows.count()) < 120, 'only the rows in the window are drawn');
  await takePictures(page, '10000-nodes');

  // Text of a record stays text.
  assert.equal(await page.evaluate('window.hacked'), undefined);
  assert.match(await rows.first().innerText(), /<img src=x onerror="window\.hacked=1">\?<\/script>/);

  // An event: one row changes, and the others are the same elements.
  await page.evaluate("document.querySelectorAll('.nodes tbody tr').forEach((row) => { row.old = true; })");
  await update(50, 'critical', 'none free');
  const seenMs = await until('the change is seen', 1_000, async () =>
    (await page.locator('.nodes').innerText()).includes('none free'),
  );
  t.diagnostic(`an event was seen after ${Math.round(seenMs)} ms`);
  const kept = await page.evaluate<number>(
    "[...document.querySelectorAll('.nodes tbody tr')].filter((row) => row.old).length",
  );
  assert.ok(kept >= (await rows.count()), `${kept} rows kept`);

  // The keyboard searches; the filter stands in the address and survives a reload.
  await page.keyboard.press('/');
  await page.keyboard.type('role=edge 10.113.7.');
  await until('the search filters', PATIENCE_MS, async () => (await rows.count()) === 51);
  await page.locator('.tile.passing').click();
  assert.equal(new URL(page.url()).search, '?show=passing&q=role%3Dedge+10.113.7.');
  const filtered = await rows.count();
  assert.ok(filtered > 0 && filtered < 51, `${filtered} rows`);
  await page.reload();
  await until('the filter is still there', PATIENCE_MS, async () => (await rows.count()) === filtered);
  assert.equal(await page.locator('.api').getAttribute('href'), '/v1/containerInstances?health=passing');
  await page.keyboard.press('/');
  await page.keyboard.press('Escape');
  await page.locator('.filters button', { hasText: 'Clear filters' }).click();
  await page.locator('thead .address button').click();
  await until('it is sorted', PATIENCE_MS, async () => /^10\.113\.0\.1\b/.test(await rows.first().innerText()));
  await page.evaluate('window.scrollTo(0, document.documentElement.scrollHeight)');
  await until('the last row is drawn', PATIENCE_MS, async () =>
    (await rows.last().innerText()).includes('10.113.39.16'),
  );

  // Addresses and ARNs are copied, and the page of a node has the commands.
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await rows.last().hover();
  await rows.last().locator('.instance .copy').click();
  const arn = recordOf(10_000, 'passing', '').containerInstanceArn;
  await until('the ARN is copied', PATIENCE_MS, async () => {
    return (await page.evaluate('navigator.clipboard.readText()')) === arn;
  });
  await rows.last().locator('.address a').click();
  await page.locator('article.node').waitFor();
  await until('the title has the focus', PATIENCE_MS, () =>
    page.evaluate<boolean>("document.activeElement.matches('h1')"),
  );
  assert.match(await page.locator('.commands').innerText(), new RegExp(`rollcall show ${spreadInstanceId(10_000)}`));
  await takePictures(page, 'node');
  await page.goBack();
  await rows.first().waitFor();
  // 640 px is what a window of 1,280 px has at 200 %.
  for (const width of [640, 400, 320]) await fits(page, width);
  assert.deepEqual(complaints, []);
});

test('the page is one file of at most 60 kB', async () => {
  assert.ok((await stat(BOARD)).size <= 60_000);
});

test('a node is not called gone before the roll was read', async (t) => {
  const { url } = await startRoll(t, 3);
  const browser = await startBrowser(t);
  const { page, complaints } = await openPage(browser, url);
  const list = '**/v1/containerInstances?*';
  await page.route(list, (route) => route.fulfill({ status: 503, json: { detail: 'the roll is not known' } }));
  await page.goto(`${url}/?node=${spreadInstanceId(2)}`);
  await banner(page, /No roll yet\s+the roll is not known/);
  assert.doesNotMatch(await page.locator('main').innerText(), /Not on the roll/);
  assert.match(await page.locator('article').innerText(), /No roll has been read yet/);
  await page.unroute(list);
  await until('it is read', PATIENCE_MS, async () => (await page.locator('article .checks').count()) === 1);
  await page.goto(`${url}/?node=${spreadInstanceId(4)}`);
  await until('one that is not there is called so', PATIENCE_MS, async () =>
    /Not on the roll.*no record of this node that it can read/.test(await page.locator('main').innerText()),
  );
  assert.deepEqual(complaints, []);
});

test('a screen reader hears of a banner once, not of each second that it counts', async (t) => {
  const { url } = await startRoll(t, 3);
  const browser = await startBrowser(t);
  const { page, complaints } = await openPage(browser, url);
  const uncertainty = { vanished: 4, nodes: 7, limitShare: 0.3, limitCount: 2, since: '2026-01-01T00:00:00Z' };
  const untilAt = new Date(Date.now() + 3_600_000).toISOString();
  await page.route('**/v1/self', async (route) => {
    const self = (await (await fetch(`${url}/v1/self`)).json()) as { roll: object };
    const roll = { ...self.roll, stale: true, uncertainty: { ...uncertainty, until: untilAt } };
    await route.fulfill({ json: { ...self, roll } }).catch(() => {}); // ended by the test
  });
  await page.goto(url);
  await banner(page, /The store does not answer.* ago[\s\S]*4 of 7 nodes vanished at once.*count as lost/);
  assert.equal(
    await page.locator('[role=status].unseen').textContent(),
    'The store does not answer. 4 of 7 nodes vanished at once.',
  );
  assert.equal(await page.locator('.banners [aria-live], .banners[aria-live]').count(), 0);
  assert.deepEqual(complaints, []);
});

test('the audit counts what it does not show', async (t) => {
  const { url } = await startRoll(t, 3);
  const browser = await startBrowser(t);
  const { page, complaints } = await openPage(browser, url);
  const ghosts = Array.from({ length: 200 }, (_, n) => ({
    ...{ kind: 'ghost', instanceId: spreadInstanceId(n + 10), cluster: 'demo', containerInstanceArn: `arn:${n}` },
    ...{ privateIpAddress: null, since: null, reason: 'never on the roll' },
  }));
  const report = { agreeing: 3, differences: ghosts, notes: [], omitted: { ghost: 1_300, cluster: 2 } };
  await page.route('**/v1/audit', (route) =>
    route.fulfill({ json: { report, ageMs: 1_000, stale: false, staleReason: null } }),
  );
  await page.goto(`${url}/?tab=audit`);
  await until('all are counted', PATIENCE_MS, async () =>
    /3 agree, 1,500 differ/.test(await page.locator('h2', { hasText: 'Audit' }).innerText()),
  );
  assert.match(await page.locator('.tabs').innerText(), /Audit 1,500/);
  assert.match(await page.locator('.hint').innerText(), /^Not shown: 1,300 more of the kind ghost\. rollcall audit/);
  await takePictures(page, 'audit');
  assert.deepEqual(complaints, []);
});

test('the page of a node tells what happened before it was opened, and goes on, each event once', async (t) => {
  const { url, update } = await startRoll(t, 3);
  // The log of the agent begins with its first reader.
  await (await fetch(`${url}/v1/containerInstances`)).arrayBuffer();
  await update(2, 'warning', HOSTILE);
  await update(3, 'critical', 'of another node');
  await update(2, 'passing', '');
  const browser = await startBrowser(t);
  const { page, complaints } = await openPage(browser, url);
  const path = `/v1/containerInstances/${spreadInstanceId(2)}/events`;
  const events = page.locator('.own-events');
  const lines = events.locator('.lines li');
  const shows = (count: number) => until(`${count} lines`, PATIENCE_MS, async () => (await lines.count()) === count);
  await page.goto(`${url}/?node=${spreadInstanceId(2)}`);
  await shows(2);
  assert.match(await lines.first().innerText(), new RegExp(String.raw`^${MOMENT}\s+health\s+warning → passing$`));
  assert.match(
    await lines.last().innerText(),
    /passing → warning: disk: <img src=x onerror="window\.hacked=1">\?<\/script>/,
  );
  assert.equal(await page.evaluate('window.hacked'), undefined);
  assert.match(
    await events.innerText(),
    new RegExp(String.raw`^Events\s+since ${MOMENT}\s[\s\S]*This agent began its log at ${MOMENT}`),
  );
  await update(2, 'critical', 'none free');
  await shows(3);
  assert.match(await lines.first().innerText(), /passing → critical: disk: none free/);
  await takePictures(page, 'node-events');

  // The log is begun anew, as after a restart of the agent; the page says what it has seen itself.
  const begun = new Date().toISOString();
  await page.route(`**${path}*`, (route) => route.fulfill({ json: { events: [], omitted: 0, since: begun, begun } }));
  await page.locator('.back').click();
  await page.goBack();
  await shows(2);
  assert.match(
    await lines.first().innerText(),
    new RegExp(String.raw`^The log of this agent begins at ${MOMENT}\. What happened shortly before`),
  );

  // An agent of a version without the answer.
  await page.unroute(`**${path}*`);
  await page.route(`**${path}*`, (route) =>
    route.fulfill({ status: 404, json: { detail: 'unknown path; / lists the paths' } }),
  );
  await page.goto(`${url}/?node=${spreadInstanceId(2)}`);
  await until('it says so', PATIENCE_MS, async () =>
    /this agent is of a version that does not tell what happened before/.test(await events.innerText()),
  );
  assert.match(await events.innerText(), /^Events\s+since this page was opened/);
  await until('the page is live', PATIENCE_MS, async () => /live/.test(await page.locator('.fresh').innerText()));
  await update(2, 'passing', '');
  await shows(1);
  assert.match(await lines.first().innerText(), /critical → passing/);
  for (const width of [640, 400, 320]) await fits(page, width);
  assert.deepEqual(complaints, []);
});

test('what a board cannot read is called old, and why; what it does not have whole, too', async (t) => {
  const { url } = await startRoll(t, 3);
  const browser = await startBrowser(t);
  const { page, complaints } = await openPage(browser, url);
  await page.clock.install();
  const answers: Record<string, { readonly status: number; readonly json: unknown }> = {};
  for (const path of ['events', 'status', 'audit']) {
    await page.route(`**/v1/${path}*`, async (route) => {
      const answer = answers[path];
      // Ended by the page meanwhile, or by the test.
      await (answer ? route.fulfill(answer) : route.continue()).catch(() => {});
    });
  }
  const drain = { ec2InstanceId: spreadInstanceId(1), phase: 'drained', cluster: 'demo', reason: HOSTILE, since: null };
  const report = { agreeing: 2, differences: [], notes: [], omitted: {} };
  answers['events'] = { status: 503, json: { detail: 'all 1000 event readers of this agent are in use' } };
  answers['status'] = { status: 200, json: { drains: [drain], draining: 6_000, notes: [] } };
  answers['audit'] = { status: 200, json: { report, ageMs: 60_000, stale: false, staleReason: null } };
  await page.goto(url);
  await banner(page, new RegExp(`Not connected.*all 1000 event readers.*as of ${MOMENT}`));
  assert.match(await page.locator('.fresh').innerText(), /reconnecting/);
  assert.match(await page.title(), /^not connected/);
  await banner(page, /Only 1 of 6,000 drains/);
  await tiles(page, { present: 3, draining: 1 });
  assert.match(await page.locator('.tabs').innerText(), /Drains 6,000/);
  await page.locator('.tabs button', { hasText: 'Audit' }).click();
  await until('the audit has its age', PATIENCE_MS, async () =>
    /2 agree, 0 differ; 1 min old/.test(await page.locator('h2', { hasText: 'Audit' }).innerText()),
  );

  delete answers['events'];
  answers['status'] = { status: 200, json: { drains: null, draining: null, notes: ['drains: permission denied'] } };
  answers['audit'] = { status: 503, json: { detail: 'the store is away' } };
  await until('both are asked for again', PATIENCE_MS, async () => {
    await page.clock.runFor(5_000);
    return /The drains cannot be read.*permission denied.*as of/.test(await page.locator('.banners').innerText());
  });
  await until('the old audit is called old', PATIENCE_MS, async () => {
    await page.clock.runFor(20_000);
    const text = await page.locator('main').innerText();
    return /2 agree, 0 differ; [2-9] min old/.test(text) && /cannot be read any more\s+the store is away/.test(text);
  });
  await until('the board is live', PATIENCE_MS, async () => /live/.test(await page.locator('.fresh').innerText()));
  await page.locator('.tabs button', { hasText: 'Drains' }).click();
  assert.match(await page.locator('h2', { hasText: 'Drains' }).innerText(), /read \d+ (s|min) ago/);
  assert.deepEqual(complaints, []);
});

test('more boards in one browser than it has connections: a hidden one gives its own back', async (t) => {
  const { url, update } = await startRoll(t, 3);
  const browser = await startBrowser(t);
  const { page, context, complaints } = await openPage(browser, url);
  const pages = [page];
  // So many connections a browser has to one server, with HTTP/1.1.
  while (pages.length < 6) pages.push(await context.newPage());
  const hide = (each: Page, isHidden: boolean) =>
    each.evaluate(
      `Object.defineProperty(document, 'hidden', { configurable: true, get: () => ${isHidden} });
      document.dispatchEvent(new Event('visibilitychange'));`,
    );
  for (const each of pages) {
    await each.clock.install();
    await each.goto(url);
    await tiles(each, { present: 3 });
    await hide(each, true);
    await each.clock.runFor(31_000);
    await until('it pauses', PATIENCE_MS, async () => /^paused/.test(await each.title()));
  }
  const seventh = await context.newPage();
  await seventh.goto(url);
  await tiles(seventh, { present: 3, critical: 1 });
  await update(2, 'critical', 'none free');
  await tiles(seventh, { present: 3, critical: 2 });
  await hide(page, false);
  await tiles(page, { present: 3, critical: 2 });
  await until('it is live again', PATIENCE_MS, async () => /^2 not well/.test(await page.title()));
  assert.match(await page.locator('.lines').innerText(), /none free/);
  assert.deepEqual(complaints, []);
});

test('the ages of a node whose clock is off are right, and its page says that it is', async (t) => {
  const { url } = await startRoll(t, 3);
  const browser = await startBrowser(t);
  const { page } = await openPage(browser, url);
  const id = spreadInstanceId(3);
  // What the agent says of a drain and of an audit is by EC2's clock as well; a drain by hand is by that of a host.
  const since = new Date(Date.now() - 5.5 * 60_000).toISOString();
  const drain = { ec2InstanceId: id, phase: 'drained', cluster: 'demo', reason: 'stopping', since };
  const drains = [drain, { ...drain, ec2InstanceId: spreadInstanceId(1), phase: 'manual' }];
  await page.route('**/v1/status*', (route) => route.fulfill({ json: { drains, draining: 2, notes: [] } }));
  const difference = { kind: 'ghost', instanceId: id, containerInstanceArn: null, cluster: 'demo', since, reason: '' };
  const report = { agreeing: 2, differences: [difference], notes: [], omitted: {} };
  await page.route('**/v1/audit*', (route) =>
    route.fulfill({ json: { report, ageMs: 0, stale: false, staleReason: null } }),
  );
  await page.goto(url);
  const row = page.locator('.nodes tbody tr', { hasText: id });
  await until('it is listed', PATIENCE_MS, async () => (await row.count()) === 1);
  assert.match(await row.locator('.since').innerText(), /^[5-9] min$/);
  await row.locator('.address a').click();
  await page.locator('article.node').waitFor();
  assert.match(await page.locator('.checks tbody tr').innerText(), /disk\s+passing\s+[5-9] min/);
  assert.match(
    await page.locator('.facts').innerText(),
    /the clock of \S+ is 60 min behind EC2's; the ages are not by it/,
  );
  // The agent finds that its own clock is an hour behind: so it is an hour later than it had said.
  await page.route('**/v1/self', async (route) => {
    const answer = await route.fetch();
    const self = await answer.json();
    await route.fulfill({
      response: answer,
      json: { ...self, record: { ...self.record, clockSkewSeconds: -3_600 } },
    });
  });
  await until('the ages are by that', PATIENCE_MS, async () =>
    /disk\s+passing\s+1 h [5-9] min/.test(await page.locator('.checks tbody tr').innerText()),
  );
  await until('its drain is said', PATIENCE_MS, async () =>
    /stopping for 1 h [5-9] min/.test(await page.locator('article.node').innerText()),
  );
  await page.locator('.back').click();
  assert.match(await row.locator('.since').innerText(), /^1 h [5-9] min$/);
  const findings = page.locator('.findings tbody');
  await page.locator('.tabs button', { hasText: 'Drains' }).click();
  await until('the drains are shown', PATIENCE_MS, async () => {
    const text = await findings.innerText();
    return /^drained\s+\S+\s+demo\s+1 h [5-9] min/m.test(text) && /^manual\s+\S+\s+demo\s+[5-9] min/m.test(text);
  });
  await page.locator('.tabs button', { hasText: 'Audit' }).click();
  await until('the audit is shown', PATIENCE_MS, async () =>
    /^ghost\s+\S+\s+demo\s+1 h [5-9] min/m.test(await findings.innerText()),
  );
  // One may be under way.
  await page.unrouteAll({ behavior: 'ignoreErrors' });
});

test('without JavaScript there is a plain table', async (t) => {
  const { url } = await startRoll(t, 3);
  const browser = await startBrowser(t);
  const { page, complaints } = await openPage(browser, url, { javaScriptEnabled: false });
  await page.goto(url);
  await page.waitForURL('**/plain');
  assert.equal(await page.locator('tbody tr').count(), 3);
  assert.match(await page.locator('body').innerText(), /onerror="window\.hacked=1"/);
  assert.deepEqual(complaints, []);
});

test('where a token is needed the board asks for it once, and the tab keeps it', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-board-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const token = 'a-token-of-the-fleet-0123456789';
  await writeFile(join(dir, 'token'), token);
  const { url } = await startRoll(t, 3, join(dir, 'token'));
  const browser = await startBrowser(t);
  const { page, complaints } = await openPage(browser, url);
  await page.goto(url);
  const asked = page.locator('.gate input');
  await asked.fill('not-the-token-0123456789');
  await page.locator('.gate button').click();
  await page.locator('.gate [role=alert]').waitFor();
  await asked.fill(token);
  await page.locator('.gate button').click();
  await tiles(page, { present: 3 });
  await page.reload();
  await tiles(page, { present: 3 });
  assert.equal(await page.locator('button.api').innerText(), 'copy as curl');
  assert.deepEqual(complaints, []);
});
