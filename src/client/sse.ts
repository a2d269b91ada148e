/** One block of a stream of Server-Sent Events: a message, or nothing but a new id. */
export interface SseBlock {
  /** `message` unless the block names another. */
  readonly type: string;
  /** null: the block has no data and is no message; it only says its id. */
  readonly data: string | null;
  /** The id this very block gives; null where it gives none, so that the last one before it still holds. */
  readonly id: string | null;
}

export interface SseParser {
  /** @returns the blocks that this chunk completed @throws SseTooLargeError */
  push(chunk: Uint8Array): readonly SseBlock[];
}

export class SseTooLargeError extends Error {
  override readonly name = 'SseTooLargeError';
  constructor(maxChars: number) {
    super(`an event is larger than ${maxChars} characters`);
  }
}

const NUL = '\0';

/**
 * Reads what https://html.spec.whatwg.org/multipage/server-sent-events.html calls an event stream, chunk by chunk,
 * wherever the chunks were cut. A block that the end of the stream cuts off is never told. `retry` is left out: whoever
 * connects again here has a backoff of its own.
 * @param maxChars limit of one line, and of the data of one event
 */
export function createSseParser(maxChars: number): SseParser {
  const decoder = new TextDecoder(); // it also drops a byte order mark at the beginning
  /** The line that is not complete yet; in parts, because joining a long one again for each chunk would be quadratic. */
  let parts: string[] = [];
  let partsChars = 0;
  /** The last chunk ended in CR: an LF that follows belongs to it. */
  let afterCr = false;
  let type = '';
  let data: string[] = [];
  let dataChars = 0;
  let id: string | null = null;

  function keep(part: string) {
    partsChars += part.length;
    if (partsChars > maxChars) throw new SseTooLargeError(maxChars);
    parts.push(part);
  }

  function readField(line: string) {
    const colon = line.indexOf(':');
    if (colon === 0) return; // a comment
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (name === 'data') {
      dataChars += value.length + 1;
      if (dataChars > maxChars) throw new SseTooLargeError(maxChars);
      data.push(value);
    } else if (name === 'event') type = value;
    else if (name === 'id' && !value.includes(NUL)) id = value;
  }

  function endBlock(): SseBlock | null {
    const isMessage = data.length > 0;
    const block = { type: type || 'message', data: isMessage ? data.join('\n') : null, id };
    const isNews = isMessage || id !== null;
    type = '';
    data = [];
    dataChars = 0;
    id = null;
    return isNews ? block : null;
  }

  return {
    push(chunk) {
      let text = decoder.decode(chunk, { stream: true });
      if (text === '') return [];
      if (afterCr && text.startsWith('\n')) text = text.slice(1);
      afterCr = text.endsWith('\r');
      const blocks: SseBlock[] = [];
      let start = 0;
      for (const end of text.matchAll(/\r\n?|\n/g)) {
        keep(text.slice(start, end.index));
        start = end.index + end[0].length;
        const line = parts.join('');
        parts = [];
        partsChars = 0;
        if (line !== '') {
          readField(line);
          continue;
        }
        const block = endBlock();
        if (block) blocks.push(block);
      }
      keep(text.slice(start));
      return blocks;
    },
  };
}
