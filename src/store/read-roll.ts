import type { Roll } from '../record/roll.ts';
import { collectRoll } from './collect-roll.ts';
import { presenceKey, RECORDS, ROOT, recordKey } from './keys.ts';
import type { Kv, RangePage } from './kv.ts';
import { CompactedError, StoreError } from './store-error.ts';

const MAX_ATTEMPTS = 3;
/** Records and presences of 50 nodes. */
const SMALL_ROLL_KEYS = 100;
/** Pieces on their way at once: for a command that somebody waits for, and for an agent, which is to stay small. */
const PARALLEL_PIECES = { hurry: 12, thrifty: 4 };

/** `Store.read` over any key-value store: the first page that arrives fixes the revision at which all others are read. */
export async function readRoll(kv: Kv, hurry: boolean, signal: AbortSignal): Promise<Roll> {
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    try {
      return hurry ? await readPieces(kv, null, PARALLEL_PIECES.hurry, signal) : await readThriftily(kv, signal);
    } catch (error) {
      // The revision was compacted between two pages. Starting over needs no pause: it asks for a newer one.
      if (!(error instanceof CompactedError)) throw error;
    }
  }
  throw new StoreError(`read the roll: the store was compacted during each of ${MAX_ATTEMPTS} attempts`, {
    retryable: true,
  });
}

/** A small roll is one page of few keys. Of a larger one that page only fixes the revision. */
async function readThriftily(kv: Kv, signal: AbortSignal): Promise<Roll> {
  const first = await kv.range({ prefix: ROOT, limit: SMALL_ROLL_KEYS }, signal);
  if (first.next !== null) return readPieces(kv, first.revision, PARALLEL_PIECES.thrifty, signal);
  const roll = collectRoll();
  roll.add(first.kvs);
  return roll.finish(first.revision);
}

/**
 * Reads the roll in pieces, some at a time: etcd makes its answers on several cores, and the next ones are on their way
 * while one is decoded.
 * @param fixed the revision to read at; null: that of the first page to arrive, all at once
 */
async function readPieces(kv: Kv, fixed: string | null, parallel: number, signal: AbortSignal): Promise<Roll> {
  const roll = collectRoll();
  const pieces = pieceBounds();
  let revision = fixed;
  const page = (piece: Piece, signal: AbortSignal): Promise<RangePage> =>
    kv.range({ prefix: ROOT, ...piece, ...(revision === null ? {} : { revision }) }, signal);

  const work = async (signal: AbortSignal): Promise<void> => {
    for (let piece = pieces.shift(); piece; ) {
      let read = await page(piece, signal);
      revision ??= read.revision;
      // Something was written between this page and the first.
      if (read.revision !== revision) read = await page(piece, signal);
      roll.add(read.kvs);
      piece = read.next === null ? pieces.shift() : { ...piece, from: read.next };
    }
  };
  await allOrNone(parallel, work, signal);
  return roll.finish(revision ?? '0');
}

/**
 * Runs `work` that many times at once. The first failure stops the others, and is thrown when all have come to rest:
 * what follows must not compete with answers that nobody wants any more.
 */
async function allOrNone(times: number, work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal) {
  signal.throwIfAborted();
  const stop = new AbortController();
  const onAbort = () => stop.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    // A second abort changes nothing: the reason stays the first failure.
    const runs = Array.from({ length: times }, () => work(stop.signal).catch((error) => stop.abort(error)));
    await Promise.all(runs);
    stop.signal.throwIfAborted();
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

interface Piece {
  readonly from: string;
  readonly to?: string;
}

/**
 * Cuts at ids that part both kinds evenly, EC2's long ids (`i-0` and 16 random digits) and its old ones (8 digits):
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html
 */
const CUTS = ['i-02', 'i-04', 'i-06', 'i-08', 'i-0a', 'i-0c', 'i-0e', 'i-1', 'i-4', 'i-8', 'i-c'];

function pieceBounds(): Piece[] {
  const starts = [ROOT, ...CUTS.map(presenceKey), RECORDS, ...CUTS.map(recordKey)];
  return starts.map((from, index) => {
    const to = starts[index + 1];
    return to === undefined ? { from } : { from, to };
  });
}
