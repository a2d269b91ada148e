import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Simulator } from '../../src/simulator/simulator.ts';
import { DRAINS, drainKey, presenceKey, recordKey } from '../../src/store/keys.ts';
import { ETCD_ROOT, startEtcdWithAuth } from '../support/etcd-auth.ts';
import { ETCDCTL_ENV } from '../support/etcd-server.ts';
import { until } from '../support/machine-time.ts';
import { agentUrl, getJson, PATIENCE_MS, type Running, rollcall, startRollcall } from '../support/rollcall-process.ts';
import { startEcsSimulation } from '../support/start-ecs-simulation.ts';

const PAGE = await readFile(fileURLToPath(new URL('../../docs/stores.md', import.meta.url)), 'utf8');

/** The commands of docs/stores.md that stand after `<!-- role: NAME -->`. */
function commands(name: string): string {
  const block = new RegExp(`^<!-- role: ${name} -->\n\`\`\`sh\n(.*?)^\`\`\`$`, 'ms').exec(PAGE);
  return block?.[1] ?? assert.fail(`docs/stores.md has no block "role: ${name}"`);
}

/** An etcd with authentication on, a simulated fleet, and the roles as the page makes them. */
async function startWorld(t: TestContext) {
  const etcd = await startEtcdWithAuth();
  t.after(() => etcd.dispose());
  const ecs = await startEcsSimulation(t, { nodes: 2 });
  const store = etcd.clientUrl.replace('http', 'etcd');
  /** Runs a block of the page as it stands there, for this node. */
  const grant = (name: string, node: string) =>
    promisify(execFile)('bash', ['-euo', 'pipefail', '-c', commands(name)], {
      env: {
        PATH: process.env['PATH'],
        ...ETCDCTL_ENV,
        ETCDCTL_ENDPOINTS: etcd.clientUrl,
        ETCDCTL_USER: `${ETCD_ROOT.user}:${ETCD_ROOT.password}`,
        node,
        password: passwordOf(node),
      },
    });
  const [first, second] = ecs.simulator.nodes.map(({ node }) => node.instanceId);
  assert.ok(first && second);
  await grant('once', '');
  for (const node of [first, second]) await grant('node', node);
  return { etcd, ecs, store, grant, first, second };
}

type World = Awaited<ReturnType<typeof startWorld>>;

const passwordOf = (node: string) => `secret-of-${node}`;
const userOf = (node: string) => `rollcall-${node}`;

/** An agent on `node` that shows itself to etcd as `as`. */
function startAgent(
  t: TestContext,
  { ecs, store }: World,
  node: string,
  more: Record<string, string> = {},
  as = node,
): Running {
  const host = hostOf(ecs.simulator, node);
  return startRollcall(t, ['agent', '--listen', '127.0.0.1:0', '--docker-socket', 'off'], {
    ...ecs.env,
    ROLLCALL_STORE: store,
    ROLLCALL_ETCD_USER: userOf(as),
    ROLLCALL_ETCD_PASSWORD: passwordOf(as),
    ROLLCALL_METADATA_ENDPOINT: host.imdsEndpoint,
    ROLLCALL_INTROSPECTION_ENDPOINT: host.introspectionEndpoint,
    ROLLCALL_INTROSPECTION_INTERVAL: '1s',
    ROLLCALL_NOTICE_INTERVAL: '1s',
    ROLLCALL_PRESENCE_TTL: '6s',
    ...more,
  });
}

function hostOf(simulator: Simulator, node: string) {
  return simulator.nodes.find((each) => each.node.instanceId === node) ?? assert.fail(`no node ${node}`);
}

/** What one who may only read sees of a node: presence and health, as `present passing`. */
async function seen({ store, second }: World, node: string): Promise<string> {
  const env = { ROLLCALL_ETCD_USER: userOf(second), ROLLCALL_ETCD_PASSWORD: passwordOf(second) };
  const args = ['list', '--all', '--fields', 'instance,state,health', '--no-legend', '--store', store];
  const { stdout, stderr } = await rollcall(args, env);
  const line = stdout.split('\n').find((each) => each.startsWith(node)) ?? stderr;
  return line.trim().split(/\s+/).slice(1).join(' ');
}

const metric = async (url: string, name: string): Promise<number> => {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `)) ?? assert.fail(`no ${name} in ${text}`);
  return Number(line.split(' ')[1]);
};

test('with a role for its own two keys an agent registers, renews, updates, answers and departs', async (t) => {
  const world = await startWorld(t);
  const { first, ecs } = world;
  const agent = startAgent(t, world, first);
  const url = await agentUrl(agent);
  await until('it is on the roll', PATIENCE_MS, async () => (await seen(world, first)) === 'present passing');

  await until('it beats', PATIENCE_MS, async () => (await metric(url, 'rollcall_beats_total{outcome="ok"}')) >= 4);
  assert.equal(await metric(url, 'rollcall_beats_total{outcome="failed"}'), 0);
  assert.equal(await metric(url, 'rollcall_lease_losses_total'), 0);

  await ecs.simulator.setFault(first, { introspection: 'refuse' });
  await until('its change is there', PATIENCE_MS, async () => (await seen(world, first)) === 'present critical');
  const { status, body } = await getJson(`${url}/v1/containerInstances`);
  assert.deepEqual([status, body.stale, body.containerInstances.length], [200, false, 1]);

  agent.child.kill('SIGTERM');
  assert.equal((await agent.ended).code, 0, agent.stderr());
  assert.equal(await seen(world, first), 'departed critical');
  assert.doesNotMatch(agent.stderr(), /permission denied/);
});

test('with that role neither an agent nor etcdctl can change another node’s keys', async (t) => {
  const world = await startWorld(t);
  const { etcd, first, second } = world;
  startAgent(t, world, first);
  await until('it is on the roll', PATIENCE_MS, async () => (await seen(world, first)) === 'present passing');

  // What a host that was taken over would do: the same program and password, another node's name.
  const stranger = startAgent(t, world, second, {}, first);
  await agentUrl(stranger);
  await until('it is refused', PATIENCE_MS, () => stranger.stderr().includes('permission denied'));
  assert.equal(await seen(world, second), '');

  const as = (node: string, ...args: readonly string[]) =>
    etcd.etcdctl(`--user=${userOf(node)}:${passwordOf(node)}`, ...args).then(
      (stdout) => stdout.trim(),
      (error: { stderr: string }) => error.stderr,
    );
  const root = '/rollcall/';
  for (const key of [recordKey(first), presenceKey(first), drainKey(first), 'coordination/v1/audit/leader', 'v1/x']) {
    assert.match(await as(second, 'put', root + key, 'forged'), /permission denied/, `put ${key}`);
    assert.match(await as(second, 'del', root + key), /permission denied/, `del ${key}`);
  }
  assert.match(await as(second, 'del', '--prefix', root), /permission denied/);
  // As text: a lease id has more digits than a number holds.
  const [, lease = ''] = /"lease":(\d+)/.exec(await etcd.etcdctl('get', root + presenceKey(first), '-w', 'json')) ?? [];
  const leaseId = BigInt(lease).toString(16);
  assert.match(await as(second, 'lease', 'revoke', leaseId), /permission denied/);
  assert.match(await as(second, 'lease', 'keep-alive', '--once', leaseId), /keepalived/, 'etcd checks no keep-alive');
  const left = await etcd.etcdctl('get', '--prefix', root);
  for (const key of [recordKey(first), presenceKey(first)]) assert.ok(left.includes(root + key), key);
  assert.doesNotMatch(left, /forged/);
  assert.ok((await as(second, 'get', '--prefix', root)).includes(first), 'it may read them');
  assert.match(await as(second, 'get', '/elsewhere'), /permission denied/);
});

test('--drain-on also needs the node’s own claim and the admission locks', async (t) => {
  const world = await startWorld(t);
  const { etcd, ecs, first, second, grant } = world;
  const agent = startAgent(t, world, first, { ROLLCALL_DRAIN_ON: 'interruption' });
  const url = await agentUrl(agent);
  await until('it is on the roll', PATIENCE_MS, async () => (await seen(world, first)) === 'present passing');
  await ecs.simulator.setNotices(first, { spot: { action: 'terminate', time: '2030-01-01T00:00:00Z' } });
  const drain = async (): Promise<{ state: string; reason: string }> => (await getJson(`${url}/v1/self`)).body.drain;
  await until('it is refused a slot', PATIENCE_MS, async () => (await drain()).reason.includes('permission denied'));
  assert.equal((await drain()).state, 'waiting');

  await grant('drain', first);
  await until('it drains', 60_000, async () => (await drain()).state === 'draining');
  await ecs.simulator.setNotices(first, { spot: null });
  await until('it is active again', PATIENCE_MS, async () => (await drain()).state === 'idle');
  await grant('drain', second);
  const forged = etcd.etcdctl(
    `--user=${userOf(second)}:${passwordOf(second)}`,
    'put',
    `/rollcall/${drainKey(first)}`,
    '{}',
  );
  await assert.rejects(forged, /permission denied/);
  assert.equal(await etcd.etcdctl('get', '--prefix', `/rollcall/${DRAINS}`), '');
});

test('--audit-interval also needs the keys of the audit', async (t) => {
  const world = await startWorld(t);
  const { first, grant } = world;
  const agent = startAgent(t, world, first, { ROLLCALL_AUDIT_INTERVAL: '1m' });
  const url = await agentUrl(agent);
  const audit = () => getJson(`${url}/v1/audit`);
  await until('it is refused the lead', PATIENCE_MS, () => /audit.*permission denied/.test(agent.stderr()));
  assert.equal((await audit()).status, 503);
  await grant('audit', first);
  await until('it has audited', 60_000, async () => (await audit()).status === 200);
  assert.equal((await audit()).body.by.instanceId, first);
  assert.equal(await seen(world, first), 'present passing');
});
