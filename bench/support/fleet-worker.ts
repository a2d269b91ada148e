import { type Desired, initialPublisherState, type PublisherState } from '../../src/agent/publisher/publisher-plan.ts';
import { runPublisher } from '../../src/agent/publisher/publisher-run.ts';
import { createCell } from '../../src/lib/cell.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { encodeRecord } from '../../src/record/codec.ts';
import { openStore } from '../../src/store/open-store.ts';
import { parseStoreUrl } from '../../src/store/store-url.ts';
import { sampleRecord, spreadInstanceId } from '../../test/support/sample-record.ts';
import { type FleetReport, REPORT_EVERY_MS } from './fleet-report.ts';

/**
 * fleet-worker.ts STORE-URL TTL-MS FIRST COUNT: the publishers of so many agents, with a store each, until it is ended.
 * It starts them as fast as it can carry: on real nodes each has a processor of its own, and here none may wait in this
 * process for so long that its calls time out.
 */
const [url = '', ttlMs = '', first = '', count = ''] = process.argv.slice(2);
const none = { caFile: null, certFile: null, keyFile: null, user: null, password: null };
const never = new AbortController().signal;

/** Agents that were started and are not registered yet. More are not faster, and the heartbeats of the others wait longer. */
const MAX_STARTING = 16;
// What fails is counted and not read.
Error.stackTraceLimit = 0;

const states: PublisherState[] = [];
setInterval(() => {
  const sum = (of: (state: PublisherState) => number) => states.reduce((total, state) => total + of(state), 0);
  const report: FleetReport = {
    held: sum(({ phase }) => (phase === 'held' ? 1 : 0)),
    confirmedAtMs: states.reduce(
      (first, { phase, heartbeatAtMs }) => Math.min(first, phase === 'held' ? heartbeatAtMs : 0),
      Number.POSITIVE_INFINITY,
    ),
    registrations: sum(({ counts }) => counts.registrations),
    beats: sum(({ counts }) => counts.beats),
    failedBeats: sum(({ counts }) => counts.failedBeats),
    losses: sum(({ counts }) => counts.losses),
  };
  process.stdout.write(`${JSON.stringify(report)}\n`);
}, REPORT_EVERY_MS);

let starting = 0;
let registered = () => {};
for (let index = 0; index < Number(count); index += 1) {
  const store = await openStore(parseStoreUrl(url, none), {
    clock: systemClock,
    random: Math.random,
    signal: never,
    create: false,
  });
  const record = sampleRecord({ ec2InstanceId: spreadInstanceId(Number(first) + index) });
  states[index] = initialPublisherState(Number(ttlMs));
  starting += 1;
  runPublisher(
    {
      store,
      clock: systemClock,
      random: Math.random,
      session: record.sidecar.session,
      ttlMs: Number(ttlMs),
      retentionMs: 86_400_000,
      desired: createCell<Desired | null>({ record, json: encodeRecord(record) }),
      leaving: createCell(false),
      onStep(_, state) {
        if (state.counts.registrations === 1 && states[index]?.counts.registrations === 0) {
          starting -= 1;
          registered();
        }
        states[index] = state;
      },
    },
    never,
  ).catch((error: unknown) => {
    throw error;
  });
  while (starting >= MAX_STARTING) {
    await new Promise<void>((resolve) => {
      registered = resolve;
    });
  }
}
