import { BodyTooLargeError, UsageError } from '../lib/errors.ts';
import type { AgentAnswer, AgentTransport } from './agent-source.ts';

/** What a fetch rejects with has the cause as its own. */
const causeOf = (error: unknown) => (error instanceof Error && error.cause ? error.cause : error);

/**
 * Asks an agent by `fetch`, which decompresses, keeps connections, and trusts what its process trusts.
 * @param token asked for at each request; null: the agent needs none
 */
export function fetchTransport(
  origin: string,
  ask: typeof fetch,
  token: (() => string | Promise<string>) | null,
): AgentTransport {
  return {
    async get(path, headers, signal) {
      const authorized = token === null ? headers : { ...headers, authorization: `Bearer ${asHeader(await token())}` };
      // An abort of the signal ends the body as well.
      const answer = await ask(`${origin}${path}`, { headers: authorized, redirect: 'manual', signal }).catch(
        (error: unknown) => {
          throw causeOf(error);
        },
      );
      const chunks = chunksOf(answer);
      return {
        // A browser does not say which redirect it was.
        status: answer.type === 'opaqueredirect' ? 302 : answer.status,
        header: (name) => answer.headers.get(name),
        text: (maxBytes) => limitedText(chunks, maxBytes),
        chunks,
      } satisfies AgentAnswer;
    },
    // Nothing of it stays open: the process ends though fetch keeps connections for a few seconds.
    close: async () => {},
  };
}

/** Of a text that is no header the error of `fetch` would say all. @throws UsageError */
function asHeader(token: string): string {
  const text = token.trim();
  if (/^[\x20-\x7e]*$/.test(text)) return text;
  throw new UsageError('token: expected one line of printable ASCII; pass one token');
}

async function* chunksOf({ body }: Response): AsyncGenerator<Uint8Array, void, undefined> {
  if (body === null) return;
  // Not `for await`, which not every browser has for a stream.
  const reader = body.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
  } catch (error) {
    throw causeOf(error);
  } finally {
    reader.cancel().catch(() => {}); // it has failed already, or nothing reads it any more
  }
}

async function limitedText(chunks: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let sizeBytes = 0;
  for await (const chunk of chunks) {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) throw new BodyTooLargeError(maxBytes);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
