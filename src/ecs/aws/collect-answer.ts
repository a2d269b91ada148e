import { AnswerError } from './answer-error.ts';

/**
 * Of one answer. 100 container instances with all their attributes are about 1 MB; what sends more is not ECS, or would
 * take its reader's node down.
 */
export const MAX_ANSWER_BYTES = 8 * 1_024 * 1_024;

/** @throws AnswerError beyond the limit; what is left of the answer is not read */
export async function collectAnswer(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // Leaving the loop by an error destroys the stream, and its connection with it.
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new AnswerError(`it is longer than ${MAX_ANSWER_BYTES / 1_024 / 1_024} MiB`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
