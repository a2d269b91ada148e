/** One block of an event stream: a message, or only a new id. */
export interface SseBlock {
  /** The event type; default `message`. */
  readonly type: string;
  /** null: the block has no data, so it is not a message and has only an id. */
  readonly data: string | null;
  /** The id in this block; null: none, so the previous id stays valid. */
  readonly id: string | null;
}

interface SseParser {
  /** @returns the blocks that this chunk completes @throws SseTooLargeError */
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
 * Parses an event stream (https://html.spec.whatwg.org/multipage/server-sent-events.html) chunk by chunk. An incomplete
 * block at the end of the stream is dropped. `retry` is ignored, because the client has its own backoff.
 * @param maxChars limit of one line, and of the data of one event
 */
export function createSseParser(maxChars: number): SseParser {
  const decoder = new TextDecoder(); // also removes a byte order mark at the start
  /** The parts of an incomplete line. They are joined once, because joining them for each chunk would be quadratic. */
  let parts: string[] = [];
  let partsChars = 0;
  /** True if the last chunk ended in CR, so that a following LF belongs to the same line end. */
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
    const hasContent = isMessage || id !== null;
    type = '';
    data = [];
    dataChars = 0;
    id = null;
    return hasContent ? block : null;
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
