import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../lib/clock.ts';
import { encodeReply } from './content-coding.ts';
import { tagMatches } from './entity-tag.ts';
import type { Pieces, Reply } from './reply.ts';

const LINE_END = Buffer.from('\r\n');
/** Chunks by their content, because many readers get the same bytes. */
const framed = new WeakMap<Uint8Array, Buffer>();

/**
 * Writes the pieces of a stream, as fast as the client reads. Writes chunks directly to the socket, because
 * `response.write` takes three times as long: 20 ms for each event with 1,000 readers on one agent.
 */
export async function writeStream(res: ServerResponse, pieces: Pieces, signal: AbortSignal): Promise<void> {
  // The headers must be sent before the first write to the socket.
  res.flushHeaders();
  const { socket } = res;
  for await (const piece of pieces) {
    if (signal.aborted || !socket) return;
    const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
    if (socket.write(res.chunkedEncoding ? chunk(bytes) : bytes)) continue;
    try {
      await once(socket, 'drain', { signal });
    } catch {
      return; // the client disconnected, or the stream must end
    }
  }
}

/** One chunk (RFC 9112, section 7.1). An empty chunk would end the body, so no piece may be empty. */
function chunk(bytes: Uint8Array): Buffer {
  const cached = framed.get(bytes);
  if (cached) return cached;
  const made = Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, LINE_END]);
  framed.set(bytes, made);
  return made;
}

/**
 * Writes a reply. A body in pieces is written as fast as the client reads: 10,000 records are 8 MB, which must neither be
 * in memory at once nor block the event loop and with it the heartbeat.
 * @param signal aborts when the client disconnects or a stream must end; the remaining pieces are then not read
 */
export async function sendReply(
  req: IncomingMessage,
  res: ServerResponse,
  reply: Reply,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  const { etag } = reply;
  if (etag !== undefined && tagMatches(req.headers['if-none-match'], etag)) {
    sendNotModified(res, etag);
    return;
  }
  // To say what a body becomes, it would have to be read.
  const asked = req.method === 'HEAD' ? undefined : req.headers['accept-encoding']?.toString();
  const { status, contentType, headers = {}, body } = await encodeReply(reply, asked);
  const isWhole = typeof body === 'string' || body instanceof Uint8Array;
  const length = isWhole ? { 'Content-Length': Buffer.byteLength(body) } : {};
  res.writeHead(status, {
    'Content-Type': contentType,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    // nginx keeps back what it proxies until a buffer is full: https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
    ...(reply.heartbeat === undefined ? {} : { 'X-Accel-Buffering': 'no' }),
    ...length,
    ...(etag === undefined ? {} : { ETag: etag }),
    ...headers,
  });
  if (req.method === 'HEAD') {
    res.end();
    return;
  }
  if (isWhole) {
    res.end(body);
    return;
  }
  try {
    await (reply.heartbeat ? writeStream : writePieces)(res, body, signal);
  } catch (error) {
    // After an abort the pieces may fail in any way.
    if (!signal.aborted) throw error;
  }
  if (!res.destroyed) res.end();
}

function sendNotModified(res: ServerResponse, etag: string): void {
  res.writeHead(304, { 'Cache-Control': 'no-store', ETag: etag, Vary: 'Accept-Encoding' });
  res.end();
}

async function writePieces(res: ServerResponse, pieces: Pieces, signal: AbortSignal): Promise<void> {
  for await (const piece of pieces) {
    if (signal.aborted) return;
    if (!res.write(piece)) await once(res, 'drain', { signal });
    // With a fast client `drain` comes at once. Without this pause the body would block the event loop to its end.
    await nextTurn();
  }
}

/**
 * Sends heartbeats until the stream ends, so that neither this server nor a proxy closes it as idle. A client that does
 * not read gets none, so that they do not pile up and the idle limit closes its connection.
 * @param signal aborts when the response is closed or must close
 */
export async function sendHeartbeats(
  res: ServerResponse,
  heartbeat: () => string,
  everyMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    await clock.sleep(everyMs, signal).catch(() => {}); // an abort is handled in the next line
    if (signal.aborted || res.writableEnded) return;
    // More than 0: the kernel has not accepted all data yet.
    if (res.writableLength === 0) res.write(heartbeat());
  }
}
