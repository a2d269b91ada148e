/** When a stream's text about each revision arrived, ms on the scale of `nowMs`, once for each stream it came on. */
export type Arrivals = Map<string, number[]>;

const LINE_END = 0x0a;
/** A number of at most 20 digits, and what stands before it. */
const MAX_SPLIT_BYTES = 64;

/**
 * Looks for revisions in a stream and for nothing else, so that looking costs next to nothing.
 * @param marker what stands before each revision @returns takes the stream's chunks, which it does not keep
 */
export function noteArrivals(marker: string, arrivals: Arrivals, nowMs: () => number): (chunk: Buffer) => void {
  const wanted = Buffer.from(marker);
  let rest = Buffer.alloc(0);
  return (chunk) => {
    const atMs = nowMs();
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let done = 0;
    for (let at = bytes.indexOf(wanted); at !== -1; at = bytes.indexOf(wanted, done)) {
      const start = at + wanted.length;
      let end = start;
      while (isDigit(bytes[end])) end += 1;
      if (end === bytes.length) break; // more digits may follow
      done = end;
      const revision = bytes.toString('latin1', start, end);
      const times = arrivals.get(revision);
      if (times) times.push(atMs);
      else arrivals.set(revision, [atMs]);
    }
    // Of what ends in a line's end, a marker can only begin with that. The copy, because the chunk's memory is used again.
    const kept = bytes[bytes.length - 1] === LINE_END ? 1 : MAX_SPLIT_BYTES;
    rest = Buffer.from(bytes.subarray(Math.max(done, bytes.length - kept)));
  };
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}
