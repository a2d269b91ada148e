import { boundedText } from '../../net/bounded-request.ts';
import { prefixEnd, toBase64 } from './bytes.ts';
import type { Endpoint } from './endpoints.ts';
import { type Gateway, MAX_ANSWER_BYTES } from './gateway.ts';
import { parseAnswer } from './gateway-refusal.ts';
import { JunkAnswerError } from './json-fields.ts';
import { jsonLines } from './json-lines.ts';
import { parseWatchAnswer, type WatchAnswer } from './watch-answer.ts';

/** A watch that etcd has confirmed. It reads on only when the next answer is asked for. */
export interface WatchStream {
  readonly endpoint: Endpoint;
  /** Aborts when the watch's caller does, and on `close`. */
  readonly signal: AbortSignal;
  /** The next answer; null when etcd ended the stream. */
  next(): Promise<WatchAnswer | null>;
  close(): void;
}

/** Watches all keys below `root` from the revision after `revision`, at the first endpoint that confirms it in time. */
export function openWatchStream(
  gateway: Gateway,
  root: string,
  revision: string,
  signal: AbortSignal,
): Promise<WatchStream> {
  const body = JSON.stringify({
    create_request: {
      key: toBase64(root),
      range_end: prefixEnd(root),
      start_revision: String(BigInt(revision) + 1n),
      prev_kv: true,
      progress_notify: true,
      // Answers above etcd's largest request (1.5 MB) come in parts, so that a line stays within its bound.
      fragment: true,
    },
  });
  return gateway.endpoints.attempt({ repeatable: true }, signal, (endpoint, openSignal) =>
    gateway.withToken(endpoint, (headers) => open(endpoint, root, body, headers, signal, openSignal)),
  );
}

/** @param lifeSignal ends the stream at any time @param openSignal ends it only until it is confirmed */
async function open(
  endpoint: Endpoint,
  root: string,
  body: string,
  headers: Readonly<Record<string, string>>,
  lifeSignal: AbortSignal,
  openSignal: AbortSignal,
): Promise<WatchStream> {
  const controller = new AbortController();
  const onLifeEnd = () => controller.abort(lifeSignal.reason);
  const onOpenEnd = () => controller.abort(openSignal.reason);
  lifeSignal.addEventListener('abort', onLifeEnd, { once: true });
  openSignal.addEventListener('abort', onOpenEnd, { once: true });
  const close = () => {
    lifeSignal.removeEventListener('abort', onLifeEnd);
    controller.abort();
  };
  try {
    const response = await endpoint.pool.request({
      method: 'POST',
      path: '/v3/watch',
      // A member that lost its leader ends the watch then, instead of going silent.
      headers: { 'content-type': 'application/json', 'grpc-metadata-hasleader': 'true', ...headers },
      body,
      signal: controller.signal,
    });
    // Without a listener, the error of a stream that nobody reads at that moment would end the process.
    response.body.on('error', () => {});
    if (response.statusCode !== 200) {
      parseAnswer(response.statusCode, await boundedText(response.body, MAX_ANSWER_BYTES));
    }
    const lines = jsonLines(response.body, MAX_ANSWER_BYTES);
    const next = async () => {
      const line = await lines.next();
      return line.done ? null : parseWatchAnswer(line.value, root);
    };
    const first = await next();
    if (first?.kind !== 'created') throw new JunkAnswerError('the watch was not confirmed');
    return { endpoint, signal: controller.signal, next, close };
  } catch (error) {
    close();
    throw error;
  } finally {
    openSignal.removeEventListener('abort', onOpenEnd);
  }
}
