import type { Pieces, Reply } from './reply.ts';

/** A smaller body hardly shrinks, and fits into one packet as it is. */
const MIN_BYTES = 1_024;
/** The fastest: a roll of 10,000 nodes becomes a tenth, and the next levels take longer than they save. */
const LEVEL = 1;
/** At the same time: each takes 0.4 MB while its client reads slowly. Further answers are sent as they are. */
export const MAX_COMPRESSING = 32;
let compressing = 0;
const COMPRESSIBLE = /^(?:text\/(?!event-stream)|application\/(?:[\w.-]+\+)?json\b)/;

/**
 * Whether an `Accept-Encoding` header asks for gzip at least as much as for no coding (RFC 9110, section 12.5.3). Without the
 * header nothing is asked for.
 */
export function wantsGzip(header: string | undefined): boolean {
  const quality = new Map(
    (header ?? '')
      .toLowerCase()
      .split(',')
      .map((part) => part.split(';').map((each) => each.trim()))
      .map(([name = '', ...parameters]) => [name, qualityOf(parameters)] as const),
  );
  const gzip = quality.get('gzip') ?? quality.get('x-gzip') ?? quality.get('*') ?? 0;
  return gzip > 0 && gzip >= (quality.get('identity') ?? 0);
}

/** 0 for one that cannot be read: no coding is always right. */
function qualityOf(parameters: readonly string[]): number {
  const text = parameters.find((each) => each.startsWith('q='));
  if (text === undefined) return 1;
  return /^q=(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(text) ? Number(text.slice(2)) : 0;
}

/** The reply as it is, or compressed in pieces as fast as the client reads: nothing of it is kept. */
export async function encodeReply(reply: Reply, acceptEncoding: string | undefined): Promise<Reply> {
  const { contentType, headers = {}, heartbeat } = reply;
  if (heartbeat || headers['Content-Encoding'] !== undefined || !COMPRESSIBLE.test(contentType)) return reply;
  const varying = { ...reply, headers: { Vary: 'Accept-Encoding', ...headers } };
  if (!wantsGzip(acceptEncoding)) return varying;
  const coded = { ...varying.headers, 'Content-Encoding': 'gzip' };
  if (reply.gzip) return { ...varying, headers: coded, body: reply.gzip() };
  const body = await atLeast(MIN_BYTES, reply.body);
  if (typeof body === 'string' || body instanceof Uint8Array || compressing >= MAX_COMPRESSING)
    return { ...varying, body };
  return {
    ...varying,
    headers: coded,
    body: gzipPieces(body),
  };
}

/** The body in pieces if it has so many bytes or more, else whole. */
async function atLeast(bytes: number, body: Reply['body']): Promise<Reply['body']> {
  if (typeof body === 'string' || body instanceof Uint8Array) return Buffer.byteLength(body) < bytes ? body : [body];
  const pieces = piecesOf(body);
  const first: (string | Uint8Array)[] = [];
  for (let size = 0; size < bytes; ) {
    const next = await pieces.next();
    if (next.done) return Buffer.concat(first.map((piece) => Buffer.from(piece)));
    first.push(next.value);
    size += Buffer.byteLength(next.value);
  }
  return piecesAfter(first, pieces);
}

async function* piecesOf(body: Pieces): AsyncGenerator<string | Uint8Array, void, undefined> {
  yield* body;
}

async function* piecesAfter(first: Pieces, rest: AsyncGenerator<string | Uint8Array, void, undefined>) {
  try {
    yield* first;
    yield* rest;
  } finally {
    await rest.return();
  }
}

/** Compresses on a thread beside the event loop. An agent that is never asked for it does not load zlib. */
async function* gzipPieces(pieces: Pieces): AsyncGenerator<Uint8Array, void, undefined> {
  compressing += 1;
  try {
    const [{ createGzip }, { pipeline, Readable }] = await Promise.all([import('node:zlib'), import('node:stream')]);
    const gzip = createGzip({ level: LEVEL });
    // One piece at a time, so that they are made as fast as the client reads. An error reaches the loop below.
    pipeline(Readable.from(pieces, { highWaterMark: 1 }), gzip, () => {});
    for await (const chunk of gzip) yield chunk;
  } finally {
    compressing -= 1;
  }
}
