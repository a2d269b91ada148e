/** Items to a piece: about 64 kB of records, far less than what holds up the loop. */
const PIECE_ITEMS = 64;

/** A list as JSON in pieces, between `head` and `tail`. @param json what stands for an item, `JSON.stringify`'s own if not given */
export function* jsonList<T>(
  head: string,
  items: readonly T[],
  tail: string,
  json: (item: T) => unknown = (item) => item,
): Iterable<string> {
  yield head;
  for (let first = 0; first < items.length; first += PIECE_ITEMS) {
    const piece = items.slice(first, first + PIECE_ITEMS).map((item) => JSON.stringify(json(item)));
    yield `${first === 0 ? '' : ','}${piece.join(',')}`;
  }
  yield tail;
}
