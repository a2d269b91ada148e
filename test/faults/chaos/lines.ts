import { closeSync, openSync, readSync } from 'node:fs';

/** JSON lines. Their writer was killed now and then, so a line may end early; it was written again then. */
export function parseLines<T>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as T];
      } catch {
        return [];
      }
    });
}

/** Each call answers what was added to the file since the one before, in whole lines. */
export function followLines<T>(file: string): () => T[] {
  let offset = 0;
  let rest = '';
  return () => {
    const chunks: Buffer[] = [];
    const descriptor = openSync(file, 'a+');
    for (;;) {
      const chunk = Buffer.alloc(1 << 20);
      const length = readSync(descriptor, chunk, 0, chunk.length, offset);
      if (length === 0) break;
      offset += length;
      chunks.push(chunk.subarray(0, length));
    }
    closeSync(descriptor);
    // Records of tests are ASCII: no character is cut in two.
    const text = rest + Buffer.concat(chunks).toString('latin1');
    const end = text.lastIndexOf('\n') + 1;
    rest = text.slice(end);
    return parseLines<T>(text.slice(0, end));
  };
}
