import { createHash, createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { linkSignals } from '../../lib/abort.ts';
import { withDeadline } from '../../lib/deadline.ts';
import { formatDuration } from '../../lib/duration.ts';
import { describeError, RollcallError, UsageError } from '../../lib/errors.ts';
import { printable } from '../../lib/foreign-text.ts';
import { boundedText, type HttpPool, openHttpPool, statusOf } from '../../lib/http-client.ts';
import type { CloudEvent } from '../../record/cloud-event.ts';
import { nextStep } from './handler.ts';
import type { WatchDeps, WebhookConfig } from './watch-config.ts';

/** What an answer means. Pure. */
type Outcome =
  | { readonly kind: 'done' }
  /** This event is not taken, whenever it is sent; the next one may be. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** @property pauseMs at least so long before the next attempt */
  | { readonly kind: 'again'; readonly reason: string; readonly pauseMs: number }
  /** The URL is wrong: no event can be sent there. */
  | { readonly kind: 'wrong'; readonly reason: string };

/** The limit of a `Retry-After` that is respected. */
const MAX_RETRY_AFTER_MS = 300_000;

/** @param wallMs for a `Retry-After` with a date */
export function judgeAnswer(
  status: number,
  headers: Readonly<Record<string, string | string[] | undefined>>,
  wallMs: number,
): Outcome {
  const reason = `HTTP ${status}`;
  if (status >= 200 && status < 300) return { kind: 'done' };
  if (status >= 300 && status < 400) return { kind: 'wrong', reason: `${reason}, a redirect, which is not followed` };
  // Request timeout, too early, too many requests: the event may be taken later.
  if (status >= 400 && status < 500 && ![408, 425, 429].includes(status)) return { kind: 'refused', reason };
  return { kind: 'again', reason, pauseMs: askedPauseMs(headers['retry-after'], wallMs) };
}

/** RFC 9110, section 10.2.3: seconds, or a date. */
function askedPauseMs(header: string | string[] | undefined, wallMs: number): number {
  const text = String(header ?? '');
  const atMs = / GMT$/.test(text) ? Date.parse(text) : Number.NaN;
  const askedMs = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : atMs - wallMs;
  return Number.isNaN(askedMs) ? 0 : Math.min(Math.max(0, askedMs), MAX_RETRY_AFTER_MS);
}

/** The key as the file has it; a `whsec_` key is base64 behind that. @throws UsageError */
function readSecret(path: string): Buffer {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new UsageError(`cannot read --http-secret-file ${path}: ${describeError(error)}`);
  }
  const key = text.startsWith('whsec_') ? Buffer.from(text.slice('whsec_'.length), 'base64') : Buffer.from(text);
  if (key.length === 0) throw new UsageError(`--http-secret-file ${path} holds no key; write one into it`);
  return key;
}

/** The key of the file at each call. While it has none, as a file may that is being replaced, the last one. @throws UsageError */
function openSecret(path: string, warn: (line: string) => void): () => Buffer {
  let key = readSecret(path);
  let isThere = true;
  return () => {
    try {
      key = readSecret(path);
      isThere = true;
    } catch (error) {
      if (isThere) warn(`warning: ${describeError(error)}; until then the last key signs`);
      isThere = false;
    }
    return key;
  };
}

/**
 * The headers of Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks): the receiver can tell a
 * repetition by the id, and that the event is from us and recent by the signature over id, time and body.
 */
export function webhookHeaders(id: string, body: string, wallMs: number, key: Buffer | null): Record<string, string> {
  const timestamp = String(Math.floor(wallMs / 1_000));
  // Of another agent it is foreign text, which a header may not have.
  const name = /^[\x21-\x7e]{1,256}$/.test(id) ? id : createHash('sha256').update(id).digest('hex');
  const named = { 'webhook-id': name, 'webhook-timestamp': timestamp };
  if (key === null) return named;
  const signature = createHmac('sha256', key).update(`${name}.${timestamp}.${body}`).digest('base64');
  return { ...named, 'webhook-signature': `v1,${signature}` };
}

/** Most of an answer's body that is read, unused, so that its connection can be kept. */
const MAX_DISCARDED_BYTES = 64 * 1024;
export const DISCARD_MS = 1_000;
const CONNECT_TIMEOUT_MS = 10_000;

interface Webhook {
  /**
   * Sends one event until it is taken, or refused for good. Rejects with a `RollcallError` if the webhook still does not
   * take it after all retries, with a `UsageError` if the URL redirects: then no event is finished. Or with the reason of
   * the signal.
   */
  send(event: CloudEvent): Promise<void>;
  close(): Promise<void>;
}

export function openWebhook({ url, timeoutMs, retries, secretFile }: WebhookConfig, deps: WatchDeps): Webhook {
  const { clock, random, signal, log } = deps;
  const { origin, pathname, search } = new URL(url);
  const secret = secretFile === null ? () => null : openSecret(secretFile, (line) => log('warn', line));
  const pool = openHttpPool(origin, { connections: 1, connectTimeoutMs: Math.min(CONNECT_TIMEOUT_MS, timeoutMs) });
  // Many services have their secret in the path.
  const shown = origin;

  return {
    async send(event) {
      const body = JSON.stringify(event);
      const about = printable(`event ${event.id} (${event.type}${event.subject ? ` of ${event.subject}` : ''})`);
      for (let number = 1; ; number += 1) {
        const headers = webhookHeaders(event.id, body, clock.wallMs(), secret());
        const outcome = await attempt(pool, `${pathname}${search}`, body, headers);
        if (outcome.kind === 'done') return;
        const reason = printable(outcome.reason);
        if (outcome.kind === 'wrong')
          throw new UsageError(`--http ${shown} answers ${reason}; use the URL that takes events`);
        if (outcome.kind === 'refused') {
          log('error', `error: gave up ${about}: ${shown} answers ${reason}; going on with the next`);
          return;
        }
        const after = nextStep({ failure: reason, number, retries, random: random() });
        if (after.kind !== 'retry') {
          const attempts = number === 1 ? '1 attempt' : `${number} attempts`;
          throw new RollcallError(`${shown} did not take ${about} in ${attempts}: ${reason}; it is not finished`);
        }
        const pauseMs = Math.max(after.delayMs, outcome.pauseMs);
        const again = `again in ${formatDuration(pauseMs)}, retry ${number} of ${retries}`;
        log('warn', `warning: ${shown} did not take ${about}: ${reason}; ${again}`);
        await clock.sleep(pauseMs, signal);
      }
    },
    close: () => pool.destroy(),
  };

  async function attempt(
    to: HttpPool,
    path: string,
    body: string,
    signing: Readonly<Record<string, string>>,
  ): Promise<Outcome> {
    // The structured mode of CloudEvents over HTTP.
    const headers = { ...signing, 'content-type': 'application/cloudevents+json; charset=utf-8' };
    using ending = linkSignals(signal);
    try {
      const answer = await withDeadline(clock, timeoutMs, signal, 'POST', () =>
        to.request({ method: 'POST', path, headers, body, signal: ending.signal }),
      );
      // The status alone decides: an event that was taken must not be sent again because of what stands below it.
      await discard(answer);
      return judgeAnswer(statusOf(answer), answer.headers, clock.wallMs());
    } catch (error) {
      ending.abort(error);
      signal.throwIfAborted();
      return { kind: 'again', reason: describeError(error), pauseMs: 0 };
    }
  }

  /** Reads a short body to its end, so that its connection can be used again; closes that of any other. */
  async function discard(answer: IncomingMessage): Promise<void> {
    const reading = () => boundedText(answer, MAX_DISCARDED_BYTES);
    await withDeadline(clock, DISCARD_MS, signal, 'read the answer', reading).catch(() => answer.destroy());
  }
}
