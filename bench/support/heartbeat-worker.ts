import { Agent, request } from 'node:http';
import { systemClock } from '../../src/lib/clock.ts';
import { openStore } from '../../src/store/open-store.ts';
import { parseStoreUrl } from '../../src/store/store-url.ts';
import { sampleRecord, spreadInstanceId } from '../../test/support/sample-record.ts';
import { type HeartbeatReport, REPORT_EVERY_MS } from './heartbeat-report.ts';

/**
 * heartbeat-worker.ts WAY ORIGIN EVERY-MS FIRST COUNT: so many connections to the etcd at ORIGIN, a lease each, and each
 * time that passes a heartbeat on each, a little earlier by chance, until it is ended. WAY:
 * - rollcall: the product's own store, with the watch that an agent has of its registration
 * - gateway: etcd's JSON gateway, on connections that stay open
 */
const [way = '', origin = '', everyMs = '', first = '', count = ''] = process.argv.slice(2);
const never = new AbortController().signal;
/** So that none ends meanwhile, also of those who have gone: that would be work for etcd. */
const TTL_MS = 3_600_000;

/** Resolves once etcd has renewed the lease. */
type Heartbeat = () => Promise<void>;

async function openRollcall(index: number): Promise<Heartbeat> {
  const none = { caFile: null, certFile: null, keyFile: null, user: null, password: null };
  const config = { ...parseStoreUrl(origin.replace('http:', 'etcd:'), none), callTimeoutMs: 30_000 };
  const { random } = Math;
  const store = await openStore(config, { clock: systemClock, random, signal: never, create: false });
  // A registration of its own also where those before it are still there.
  const instanceId = spreadInstanceId(index);
  const since = new Date().toISOString();
  const session = `${process.pid} ${index}`;
  const record = sampleRecord({ ec2InstanceId: instanceId, sidecar: { version: '0', session } });
  const registration = { instanceId, session, since, ttlMs: TTL_MS, retentionMs: 2 * TTL_MS };
  const outcome = await store.register(registration, record, { takeover: true, signal: never });
  if (outcome.kind !== 'registered') throw new Error(`register ${instanceId}: ${outcome.kind}`);
  const { hold } = outcome;
  const follow = async (): Promise<never> => {
    for (;;) {
      await store.untilNotHeld(hold, never).catch(() => {}); // as where etcd is too busy for it
      await systemClock.sleep(1_000, never);
    }
  };
  follow().catch(fail);
  return async () => {
    const { kind } = await store.renew(hold, never);
    if (kind !== 'renewed') throw new Error(`the lease of ${instanceId} is ${kind}`);
  };
}

async function openGateway(): Promise<Heartbeat> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const post = (path: string, body: object): Promise<string> =>
    new Promise((resolve, reject) => {
      const asked = request(`${origin}/v3/lease/${path}`, { agent, method: 'POST' }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk) => {
          text += chunk;
        });
        answer.once('end', () => resolve(text)).once('error', reject);
      });
      asked.once('error', reject).end(JSON.stringify(body));
    });
  const { ID } = JSON.parse(await post('grant', { TTL: String(TTL_MS / 1_000) }));
  return async () => {
    const answer = await post('keepalive', { ID });
    if (JSON.parse(answer).result?.TTL === undefined) throw new Error(`not renewed: ${answer}`);
  };
}

function fail(error: unknown): never {
  throw error;
}

const report: HeartbeatReport = { connected: 0, beats: 0, failedBeats: 0 };
setInterval(() => process.stdout.write(`${JSON.stringify(report)}\n`), REPORT_EVERY_MS);

async function run(beat: Heartbeat): Promise<never> {
  await systemClock.sleep(Number(everyMs) * Math.random(), never);
  for (;;) {
    const sentMs = systemClock.monotonicMs();
    await beat().then(
      () => {
        report.beats += 1;
      },
      () => {
        report.failedBeats += 1;
      },
    );
    const dueMs = sentMs + Number(everyMs) * (1 - Math.random() / 10);
    await systemClock.sleep(Math.max(0, dueMs - systemClock.monotonicMs()), never);
  }
}

for (let index = Number(first); index < Number(first) + Number(count); index += 1) {
  const beat = await (way === 'rollcall' ? openRollcall(index) : openGateway());
  report.connected += 1;
  run(beat).catch(fail);
}
