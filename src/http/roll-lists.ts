import type { RollEntry } from '../record/roll.ts';
import { loadPacker, type PackedText, type Packer } from './packed-text.ts';
import { jsonList, type Pieces, type Reply } from './reply.ts';

/** What a query selects of a roll. */
interface Selection {
  readonly entries: readonly RollEntry[];
  readonly notes: readonly string[];
}

interface RollList extends Selection {
  /** The body of a list of these entries: the same text in both codings. */
  body(head: string, tail: string): Promise<Pick<Reply, 'body' | 'gzip'>>;
}

/** The lists that were last asked for. What is in them is found, and its JSON made, once for all their readers. */
export interface RollLists {
  /**
   * @param of all entries of a roll: an array stands for its content
   * @param key names `select` and `json`: for the same one they do the same
   * @param json null leaves the entry out
   */
  list(of: readonly RollEntry[], key: string, select: () => Selection, json: (entry: RollEntry) => unknown): RollList;
}

/** Entries that are packed together. A change of one packs so many anew, 1 ms of work. */
const PIECE_ENTRIES = 128;
/** Each takes 0.3 MB for 10,000 nodes. */
const MAX_LISTS = 4;

interface Piece {
  readonly entries: readonly RollEntry[];
  /** null: none of its entries is in the list; undefined: not made yet. */
  packed: PackedText | null | undefined;
}

interface Kept extends Selection {
  readonly pieces: readonly Piece[];
}

export function createRollLists(): RollLists {
  /** For a roll as long as its view has it. */
  const current = new WeakMap<readonly RollEntry[], Map<string, Kept>>();
  /** Of the roll before, whose unchanged pieces are taken over. Weak: it would keep all nodes as they once were. */
  const previous = new Map<string, WeakRef<Kept>>();

  function keep(of: readonly RollEntry[], key: string, select: () => Selection): Kept {
    const lists = current.get(of) ?? new Map<string, Kept>();
    current.set(of, lists);
    const known = lists.get(key);
    const selection = known ?? select();
    const kept = known ?? {
      ...selection,
      pieces: cutPieces(selection.entries, previous.get(key)?.deref()?.pieces ?? []),
    };
    putLast(lists, key, kept);
    putLast(previous, key, new WeakRef(kept));
    return kept;
  }

  return {
    list(of, key, select, json) {
      const { entries, notes, pieces } = keep(of, key, select);
      return {
        entries,
        notes,
        async body(head, tail) {
          if (pieces.length <= 1) return { body: jsonList(head, entries, tail, json) };
          const packer = await loadPacker();
          const parts = () => packedParts(packer, head, pieces, tail, json);
          return { body: packer.plain(parts()), gzip: (): Pieces => packer.gzip(parts()) };
        },
      };
    },
  };
}

/** Puts it behind the others, of which the first ones then have to go. */
function putLast<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= MAX_LISTS) return;
    map.delete(oldest);
  }
}

/**
 * Cuts the entries where they were cut before, so that a node that is added or gone changes its own piece alone. Of a piece
 * that has lost half of its nodes and the next one becomes one.
 */
function cutPieces(entries: readonly RollEntry[], before: readonly Piece[]): readonly Piece[] {
  const pieces: Piece[] = [];
  let [from, to] = [0, 0];
  for (const [index, known] of (before.length > 0 ? before : [null]).entries()) {
    const end = before[index + 1]?.entries[0]?.record.ec2InstanceId;
    while (to < entries.length && (end === undefined || (entries[to]?.record.ec2InstanceId ?? '') < end)) to += 1;
    const slice = entries.slice(from, to);
    if (known && areSame(known.entries, slice)) pieces.push(known);
    else if (slice.length < PIECE_ENTRIES / 2 && end !== undefined) continue;
    else pieces.push(...newPieces(slice));
    from = to;
  }
  return pieces;
}

function areSame(some: readonly RollEntry[], others: readonly RollEntry[]): boolean {
  return some.length === others.length && some.every((entry, index) => entry === others[index]);
}

/** Of about equal size: one that has grown becomes two. */
function newPieces(entries: readonly RollEntry[]): readonly Piece[] {
  if (entries.length === 0) return [];
  const count = Math.max(1, Math.round(entries.length / PIECE_ENTRIES));
  const size = Math.ceil(entries.length / count);
  const pieces: Piece[] = [];
  for (let from = 0; from < entries.length; from += size) {
    pieces.push({ entries: entries.slice(from, from + size), packed: undefined });
  }
  return pieces;
}

/** Makes what is not made yet when it is its turn: a reader that leaves costs no more. */
function* packedParts(
  packer: Packer,
  head: string,
  pieces: readonly Piece[],
  tail: string,
  json: (entry: RollEntry) => unknown,
): Iterable<PackedText> {
  yield packer.pack(head);
  let comma: PackedText | null = null;
  for (const piece of pieces) {
    const packed = packPiece(packer, piece, json);
    if (!packed) continue;
    if (comma) yield comma;
    comma ??= packer.pack(',');
    yield packed;
  }
  yield packer.pack(tail);
}

function packPiece(packer: Packer, piece: Piece, json: (entry: RollEntry) => unknown): PackedText | null {
  if (piece.packed === undefined) {
    const items = piece.entries.map(json).filter((item) => item !== null);
    piece.packed = items.length === 0 ? null : packer.pack(JSON.stringify(items).slice(1, -1));
  }
  return piece.packed;
}
