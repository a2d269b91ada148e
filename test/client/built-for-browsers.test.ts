import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { instanceJson } from '../../src/record/roll.ts';
import { sampleEntry, synced } from './sample-events.ts';
import { EMPTY_LIST } from './scripted-agent.ts';

const BUILT = await readFile(new URL('../../dist/client-http.js', import.meta.url), 'utf8');

/** What a browser of scripts/build.mjs may lack: newer than Chrome 111, Firefox 115 or Safari 16.4. */
const NEWER_STATICS = {
  URL: ['canParse', 'parse'],
  AbortSignal: ['any'],
  Promise: ['withResolvers', 'try'],
  Array: ['fromAsync'],
  Object: ['groupBy'],
  Map: ['groupBy'],
  RegExp: ['escape'],
  Error: ['isError'],
  ReadableStream: ['from'],
};
const NEWER_METHODS = {
  String: ['isWellFormed', 'toWellFormed'],
  ArrayBuffer: ['transfer', 'transferToFixedLength'],
  Set: ['union', 'intersection', 'difference', 'symmetricDifference', 'isSubsetOf', 'isSupersetOf', 'isDisjointFrom'],
  Response: ['bytes'],
  Iterator: ['map', 'filter', 'take', 'drop', 'flatMap', 'reduce', 'toArray', 'forEach', 'some', 'every', 'find'],
};
const NEWER_GLOBALS = ['Iterator', 'DisposableStack', 'AsyncDisposableStack', 'SuppressedError'];
/** The real one cannot be changed. */
const OLD_SYMBOL = `const Symbol = new Proxy((...args) => globalThis.Symbol(...args), {
  get: (_, key) => (key === 'dispose' || key === 'asyncDispose' ? undefined : globalThis.Symbol[key]),
});\n`;
const moduleUrl = (text: string) => `data:text/javascript,${encodeURIComponent(text)}`;

/** Runs in a worker without these, and without what is Node's. */
const SCRIPT = `import { parentPort, workerData } from 'node:worker_threads';
const { built, statics, methods, globals, bodies } = workerData;
for (const [name, keys] of Object.entries(statics)) for (const key of keys) delete globalThis[name][key];
for (const [name, keys] of Object.entries(methods)) for (const key of keys) delete globalThis[name].prototype[key];
delete ReadableStream.prototype[Symbol.asyncIterator];
delete ReadableStream.prototype.values;
for (const name of [...globals, 'process', 'Buffer', 'setImmediate', 'global']) delete globalThis[name];
const { connect } = await import(built);
const fetch = async (url) => {
  const path = new URL(url).pathname;
  const headers = { 'content-type': path === '/v1/events' ? 'text/event-stream' : 'application/json' };
  return new Response(new TextEncoder().encode(bodies[path]), { headers });
};
const said = {};
const say = async (name, call) => {
  said[name] = await call().catch((error) => error.name + ': ' + error.message);
};
const client = connect('http://127.0.0.1:1', { fetch });
await say('list', async () => (await client.list()).revision);
await say('get', async () => (await client.get('i-00000001')).containerInstance.ec2InstanceId);
await say('status', async () => (await client.status()).revision);
await say('watch', async () => {
  for await (const event of client.watch({ onRetry: (error) => { throw error; } })) return event.type;
});
const left = new AbortController();
left.abort(new Error('left'));
await say('abort', () => client.list({ signal: left.signal }));
await say('close', () => client.close());
await say('closed', () => client.list());
await say('wrong', async () => connect('http:/nonsense:x'));
parentPort.postMessage(said);
`;

test('the client for browsers runs in the oldest that it is built for', async () => {
  for (const [name, keys] of Object.entries(NEWER_STATICS))
    for (const key of keys) assert.ok(!BUILT.includes(`${name}.${key}`), `${name}.${key}`);
  const counts = { present: 1, passing: 1, warning: 0, critical: 0, lost: 0, departed: 0 };
  const lists = { groups: [], lost: [], departed: [], unhealthy: [], notices: [], notes: [] };
  const store = { url: 'memory:', id: null, version: null, members: null, leader: null };
  const fresh = { revision: '9', ageMs: 1, stale: false, uncertainty: null };
  const event = synced(9);
  const worker = new Worker(new URL(moduleUrl(SCRIPT)), {
    workerData: {
      built: moduleUrl(OLD_SYMBOL + BUILT),
      statics: NEWER_STATICS,
      methods: NEWER_METHODS,
      globals: NEWER_GLOBALS,
      bodies: {
        '/v1/containerInstances': JSON.stringify(EMPTY_LIST),
        '/v1/containerInstances/i-00000001': JSON.stringify({
          ...fresh,
          containerInstance: instanceJson(sampleEntry(1)),
        }),
        '/v1/status': JSON.stringify({ ...fresh, ...lists, nodes: counts, store, drains: null, audit: null }),
        '/v1/events': `event: ${event.type}\ndata: ${JSON.stringify(event)}\nid: 9\n\n`,
      },
    },
  });
  const [said] = await once(worker, 'message');
  await worker.terminate();
  assert.deepEqual(said, {
    list: EMPTY_LIST.revision,
    get: 'i-00000001',
    status: '9',
    watch: 'rollcall.roll.synced',
    abort: 'Error: left',
    close: undefined,
    closed: 'RollcallError: the client of http://127.0.0.1:1 is closed',
    wrong:
      'UsageError: cannot read the agent URL "http:/nonsense:x": use http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:51690',
  });
});
