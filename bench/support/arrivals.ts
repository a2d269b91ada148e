/** revision → when it arrived, in ms of `nowMs`, once for each stream. */
export type Arrivals = Map<string, number[]>;

const LINE_END = 0x0a;
/** A marker and a number of at most 20 digits. */
const MAX_SPLIT_BYTES = 64;

/**
 * Finds the revisions in a stream and decodes nothing else, so that it costs almost nothing.
 * @param marker the text before each revision @returns a function for the stream's chunks, which it does not keep
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
    // After a line's end only its last byte can start a marker. Copied, because the chunk's memory is used again.
    const kept = bytes[bytes.length - 1] === LINE_END ? 1 : MAX_SPLIT_BYTES;
    rest = Buffer.from(bytes.subarray(Math.max(done, bytes.length - kept)));
  };
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}
