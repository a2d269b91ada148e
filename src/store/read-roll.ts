import type { Roll } from '../record/roll.ts';
import { collectRoll } from './collect-roll.ts';
import { presenceKey, RECORDS, ROOT, recordKey } from './keys.ts';
import type { Kv, RangePage } from './kv.ts';
import { CompactedError, StoreError } from './store-error.ts';

const MAX_ATTEMPTS = 3;
/** Records and presences of 50 nodes. */
const SMALL_ROLL_KEYS = 100;
const PARALLEL_PIECES = 4;

/** `Store.read` over any key-value store: the first page fixes the revision at which all others are read. */
export async function readRoll(kv: Kv, signal: AbortSignal): Promise<Roll> {
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    try {
      return await readPages(kv, signal);
    } catch (error) {
      // The revision was compacted between two pages. Starting over needs no pause: it asks for a newer one.
      if (!(error instanceof CompactedError)) throw error;
    }
  }
  throw new StoreError(`read the roll: the store was compacted during each of ${MAX_ATTEMPTS} attempts`, {
    retryable: true,
  });
}

/**
 * A small roll is one page. Of a larger one that page only fixes the revision, and its pieces are then read some at a
 * time: etcd writes its JSON on several cores, and the next answers are on their way while one is decoded.
 */
async function readPages(kv: Kv, signal: AbortSignal): Promise<Roll> {
  const roll = collectRoll();
  const first = await kv.range({ prefix: ROOT, limit: SMALL_ROLL_KEYS }, signal);
  const { revision } = first;
  if (first.next === null) {
    roll.add(first.kvs);
    return roll.finish(revision);
  }
  const pieces = pieceBounds();
  const readPieces = async (signal: AbortSignal): Promise<void> => {
    for (let piece = pieces.shift(); piece; piece = pieces.shift()) {
      for (let from: string | null = piece.from; from !== null; ) {
        const page: RangePage = await kv.range({ prefix: ROOT, ...piece, from, revision }, signal);
        roll.add(page.kvs);
        from = page.next;
      }
    }
  };
  await allOrNone(PARALLEL_PIECES, readPieces, signal);
  return roll.finish(revision);
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

/**
 * Cuts at ids that part both kinds evenly, EC2's long ids (`i-0` and 16 random digits) and its old ones (8 digits):
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html
 */
const CUTS = ['i-04', 'i-08', 'i-0c', 'i-1', 'i-8'];

function pieceBounds(): { readonly from: string; readonly to?: string }[] {
  const starts = [ROOT, ...CUTS.map(presenceKey), RECORDS, ...CUTS.map(recordKey)];
  return starts.map((from, index) => {
    const to = starts[index + 1];
    return to === undefined ? { from } : { from, to };
  });
}
