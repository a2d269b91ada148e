import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import type { WebhookConfig } from '../../../src/cli/watch/watch-config.ts';
import { DISCARD_MS, judgeAnswer, openWebhook, webhookHeaders } from '../../../src/cli/watch/webhook.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { RollcallError, UsageError } from '../../../src/lib/errors.ts';
import { type CloudEvent, cloudEvent } from '../../../src/record/cloud-event.ts';
import { startScriptedAgent } from '../../client/scripted-agent.ts';

const EVENT: CloudEvent = cloudEvent(
  { kind: 'certain', revision: '7', upTo: '7', part: 0, returned: 1, lost: 0 } as never,
  'store',
  0,
);
/** So that the limit of an attempt differs from a pause before a retry; no machine is so slow that it passes. */
const TIMEOUT_MS = 123_456;

interface Got {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** Takes a request with its body, then answers it. */
function taking(got: Got[], answer: RequestListener): RequestListener {
  return async (req, res) => {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    got.push({ headers: req.headers, body: Buffer.concat(chunks).toString() });
    answer(req, res);
  };
}

const status =
  (code: number, headers: Record<string, string> = {}): RequestListener =>
  (_, res) =>
    res.writeHead(code, headers).end();

/** A webhook to a server with these answers; pauses before retries take no time. */
async function world(t: TestContext, answers: readonly RequestListener[], config: Partial<WebhookConfig> = {}) {
  const got: Got[] = [];
  const server = await startScriptedAgent(t, ...answers.map((answer) => taking(got, answer)));
  const pauses: number[] = [];
  const log: string[] = [];
  const clock = {
    ...systemClock,
    sleep: async (ms: number, signal: AbortSignal) => {
      if (ms === (config.timeoutMs ?? TIMEOUT_MS) || ms === DISCARD_MS) return systemClock.sleep(ms, signal);
      pauses.push(ms);
    },
  };
  const webhook = openWebhook(
    { url: `${server.url}/in?key=1`, timeoutMs: TIMEOUT_MS, retries: 2, secretFile: null, ...config },
    { clock, random: () => 0, env: {}, signal: new AbortController().signal, log: (_, line) => log.push(line) },
  );
  t.after(() => webhook.close());
  return { webhook, got, pauses, log, asked: server.asked, url: server.url };
}

describe('an answer', () => {
  const judge = (code: number, retryAfter?: string) => judgeAnswer(code, { 'retry-after': retryAfter }, 1_000_000);

  test('2xx is done, 4xx refuses the event, a redirect is a wrong URL, all else is tried again', () => {
    for (const code of [200, 202, 204]) assert.equal(judge(code).kind, 'done');
    for (const code of [400, 401, 404, 410, 413, 422]) assert.equal(judge(code).kind, 'refused');
    for (const code of [301, 302, 307, 308]) assert.equal(judge(code).kind, 'wrong');
    for (const code of [408, 425, 429, 500, 502, 503, 599]) assert.equal(judge(code).kind, 'again');
  });

  test('Retry-After is seconds or a date, and bounded', () => {
    const pause = (text?: string) => {
      const outcome = judge(503, text);
      return outcome.kind === 'again' ? outcome.pauseMs : undefined;
    };
    assert.deepEqual(
      [undefined, '7', '0', new Date(1_005_000).toUTCString(), new Date(0).toUTCString(), '99999999', 'soon', '-1'].map(
        pause,
      ),
      [0, 7_000, 0, 5_000, 0, 300_000, 0, 0],
    );
  });
});

test('an event is one POST of structured CloudEvents JSON', async (t) => {
  const { webhook, got, asked } = await world(t, [status(204)]);
  await webhook.send(EVENT);
  assert.deepEqual(asked, ['/in?key=1']);
  assert.equal(got[0]?.headers['content-type'], 'application/cloudevents+json; charset=utf-8');
  assert.equal(got[0]?.headers['webhook-id'], EVENT.id);
  assert.equal(got[0]?.headers['webhook-signature'], undefined);
  assert.deepEqual(JSON.parse(got[0]?.body ?? ''), EVENT);
});

test('429 and 5xx are sent again, after Retry-After, with the same id; then the next event goes on', async (t) => {
  const { webhook, got, pauses, log } = await world(t, [status(429, { 'Retry-After': '7' }), status(503), status(200)]);
  await webhook.send(EVENT);
  assert.deepEqual(pauses, [7_000, 500]);
  assert.deepEqual(new Set(got.map(({ headers }) => headers['webhook-id'])), new Set([EVENT.id]));
  assert.match(
    log[0] ?? '',
    /^warning: http:\/\/127\.0\.0\.1:\d+ did not take event 7\/certain .*: HTTP 429; again in 7s, retry 1 of 2$/,
  );
});

test('4xx gives the event up in one line; the key of the URL is not in it', async (t) => {
  const { webhook, log, got } = await world(t, [status(422), status(200)]);
  await webhook.send(EVENT);
  await webhook.send(EVENT);
  assert.equal(got.length, 2);
  assert.equal(log.length, 1);
  assert.match(
    log[0] ?? '',
    /^error: gave up event 7\/certain \(rollcall\.roll\.certain\): http:\/\/127\.0\.0\.1:\d+ answers HTTP 422; going on with the next$/,
  );
});

test('a redirect ends the watch as wrong usage and is not followed', async (t) => {
  const { webhook, asked } = await world(t, [status(307, { Location: '/elsewhere' })]);
  await assert.rejects(
    webhook.send(EVENT),
    (error) => error instanceof UsageError && /HTTP 307, a redirect, which is not followed/.test(error.message),
  );
  assert.deepEqual(asked, ['/in?key=1']);
});

test('the status alone decides: a body that is huge, never ends or is cut short takes nothing back', async (t) => {
  const { webhook, got, log } = await world(t, [
    (_, res) => res.end('x'.repeat(1_000_000)),
    (_, res) => res.write('the end never comes'),
    (_, res) => res.write('cut', () => res.destroy()),
    (_, res) => res.writeHead(422).end('x'.repeat(1_000_000)),
    status(204),
  ]);
  for (let sent = 0; sent < 5; sent += 1) await webhook.send(EVENT);
  assert.equal(got.length, 5);
  assert.deepEqual(
    log.map((line) => /HTTP \d+/.exec(line)?.[0]),
    ['HTTP 422'],
  );
});

test('one that hangs, or fails each time, ends the watch with the event not finished', async (t) => {
  const hanging = await world(t, [() => {}], { timeoutMs: 150, retries: 1 });
  await assert.rejects(hanging.webhook.send(EVENT), (error) => {
    assert.ok(error instanceof RollcallError && !(error instanceof UsageError));
    assert.match(
      error.message,
      /did not take event 7\/certain .* in 2 attempts: POST: no answer within 150 ms; it is not finished$/,
    );
    return true;
  });
  const broken = await world(t, [status(500)], { retries: 0 });
  await assert.rejects(broken.webhook.send(EVENT), /in 1 attempt: HTTP 500; it is not finished$/);
});

describe('the signature', () => {
  test('it is that of Standard Webhooks, over id, time and body', () => {
    // The example of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    const key = Buffer.from('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'base64');
    const body = '{"test": 2432232314}';
    const headers = webhookHeaders('msg_p5jXN8AQM9LWM0D4loKWxJek', body, 1_614_265_330_999, key);
    assert.deepEqual(headers, {
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  test('a replaced secret file signs the next event; a missing or empty one is refused at the start', async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'rollcall-webhook-'));
    t.after(() => rm(folder, { recursive: true }));
    const secretFile = join(folder, 'secret');
    await writeFile(secretFile, 'one\n');
    const { webhook, got, log } = await world(t, [status(200)], { secretFile });
    await webhook.send(EVENT);
    await writeFile(secretFile, 'whsec_dHdv');
    await webhook.send(EVENT);
    // While it is being replaced it may be empty or away.
    await writeFile(secretFile, '\n');
    await webhook.send(EVENT);
    await rm(secretFile);
    await webhook.send(EVENT);
    assert.deepEqual(log, [
      `warning: --http-secret-file ${secretFile} holds no key; write one into it; until then the last key signs`,
    ]);
    await writeFile(secretFile, 'three');
    await webhook.send(EVENT);
    await rm(secretFile);
    await webhook.send(EVENT);
    assert.match(
      log[1] ?? '',
      /^warning: cannot read --http-secret-file \S+: ENOENT.*; until then the last key signs$/,
    );
    const expected = ['one', 'two', 'two', 'two', 'three', 'three'].map((key, n) => {
      const { headers, body } = got[n] as Got;
      const signed = `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`;
      return `v1,${createHmac('sha256', key).update(signed).digest('base64')}`;
    });
    assert.deepEqual(
      got.map(({ headers }) => headers['webhook-signature']),
      expected,
    );
    await assert.rejects(world(t, [], { secretFile }), /^UsageError: cannot read --http-secret-file .*ENOENT/);
    await writeFile(secretFile, '\n');
    await assert.rejects(world(t, [], { secretFile }), /^UsageError: .*holds no key/);
  });
});
