import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serveHttp } from '../../src/agent/serve-http.ts';
import { PortInUseError } from '../../src/http/held-port.ts';
import type { HttpServer } from '../../src/http/server.ts';
import { deferred } from '../../src/lib/deferred.ts';
import { silentLog } from '../support/kept-log.ts';
import { outgoingConnection } from '../support/outgoing-connection.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

// Both faults that it looks for are waits without an end.
const options = { timeout: 60_000 };

test(
  'a try to listen that hangs keeps no agent from ending, and its server is closed when it comes',
  options,
  async (t) => {
    const clock = simulatedClock();
    const port = (await outgoingConnection(t)).localPort ?? assert.fail();
    const late = deferred<HttpServer>();
    const closed = deferred<void>();
    let tries = 0;
    const serving = await serveHttp({
      ...{ clock, log: silentLog, listen: { host: '127.0.0.1', port } },
      start() {
        tries += 1;
        return tries === 1 ? Promise.reject(new PortInUseError('in use')) : late.promise;
      },
      onServing: () => assert.fail('it has ended'),
    });
    assert.match(serving.trouble() ?? '', /^port \d+ is taken/);
    const end = new AbortController();
    const running = serving.loop(end.signal);
    await clock.advance(1_000);
    assert.equal(tries, 2);
    end.abort(new Error('the end'));
    await assert.rejects(running, /the end/);
    await serving.close();
    late.resolve({ url: '', close: async () => closed.resolve() });
    await closed.promise;
  },
);
