import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { events } from '../../src/http/routes/event-stream.ts';
import { startHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { fakeFeed } from '../http/fake-feed.ts';
import { openSse } from '../http/sse-reader.ts';
import { freePorts } from '../support/etcd-ports.ts';
import { until } from '../support/machine-time.ts';
import { startOwned } from '../support/owned-process.ts';
import { sampleInstanceId, sampleRecord } from '../support/sample-record.ts';

test('behind an nginx with default settings a reader gets each event when it happens', {
  timeout: 60_000,
}, async (t) => {
  const feed = fakeFeed();
  const server = await startHttpServer({
    listen: { host: '127.0.0.1', port: 0 },
    routes: { '/v1/events': events({ feed, clock: systemClock, random: Math.random }) },
    clock: systemClock,
    onError: (error) => assert.fail(String(error)),
  });
  t.after(() => server.close());

  const dir = await mkdtemp(join(tmpdir(), 'rollcall-nginx-'));
  t.after(() => rm(dir, { recursive: true }));
  const [port] = await freePorts(1);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${dir}/${name};`,
  );
  const site = `server { listen 127.0.0.1:${port}; location / { proxy_pass ${server.url}; } }`;
  await writeFile(
    join(dir, 'nginx.conf'),
    `daemon off; master_process off; pid ${dir}/pid; error_log stderr crit; events {}
     http { access_log off; ${temporary.join(' ')} ${site} }`,
  );
  startOwned(t, ['nginx', '-c', join(dir, 'nginx.conf')], process.env);
  await until('nginx answers', 10_000, () =>
    fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    ),
  );

  const reader = await openSse(t, `http://127.0.0.1:${port}/v1/events`);
  for (const n of [1, 2]) {
    const record = sampleRecord({ ec2InstanceId: sampleInstanceId(n) });
    const after = { record, presence: { session: 's', since: '2026-01-01T00:00:00.000Z', ttlSeconds: 30 } };
    const event = { kind: 'registered', revision: String(n), before: null, after, snapshot: false } as const;
    feed.tell({ events: [{ ...event, instanceId: sampleInstanceId(n) }], cursor: String(n) });
    await until(`event ${n} is there`, 10_000, () => reader.told().length === n);
  }
});
