import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Pieces, Reply } from './reply.ts';
import { writeStream } from './write-stream.ts';

/**
 * Writes a reply, a body in pieces only as fast as the client reads: 10,000 records are 8 MB, which must neither be
 * held at once nor block the loop that beats.
 * @param signal aborts when the client goes away, or a stream is to end; the rest is then not made
 */
export async function sendReply(
  req: IncomingMessage,
  res: ServerResponse,
  reply: Reply,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  const { status, contentType, headers = {}, body } = reply;
  const length = typeof body === 'string' ? { 'Content-Length': Buffer.byteLength(body) } : {};
  res.writeHead(status, {
    'Content-Type': contentType,
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    ...length,
    ...headers,
  });
  if (req.method === 'HEAD') {
    res.end();
    return;
  }
  if (typeof body === 'string') {
    res.end(body);
    return;
  }
  try {
    await (reply.heartbeat ? writeStream : writePieces)(res, body, signal);
  } catch (error) {
    // How the pieces end when nobody wants them any more is up to them.
    if (!signal.aborted) throw error;
  }
  if (!res.destroyed) res.end();
}

async function writePieces(res: ServerResponse, pieces: Pieces, signal: AbortSignal): Promise<void> {
  for await (const piece of pieces) {
    if (signal.aborted) return;
    if (!res.write(piece)) await once(res, 'drain', { signal });
    // A fast client drains within the same turn: without this, nothing else would get one until the body's end.
    await nextTurn();
  }
}
