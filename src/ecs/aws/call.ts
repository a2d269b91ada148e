/** One call, for messages. */
export interface EcsCall {
  /** The IAM action, such as `ecs:ListClusters`. */
  readonly action: string;
  readonly cluster: string | null;
  readonly taskDefinition: string | null;
  readonly profile: string | null;
  /** null until the SDK has found it. */
  readonly region: string | null;
  /** null before the first request. */
  readonly endpoint: string | null;
  /** The proxies that the environment names; null: none. */
  readonly proxy: string | null;
}

/** The answer is not from ECS, or not as documented: without its essential part, too long, or not JSON. */
export class AnswerError extends Error {
  override readonly name = 'AnswerError';
}

/** A setting of the AWS configuration is missing, contradictory or cannot be carried out; nothing else is tried. */
export class CredentialError extends Error {
  override readonly name = 'CredentialError';
  /** The next step. */
  readonly help: string;
  /** True if the same call may succeed later without any change by the user. */
  readonly retryable: boolean;
  constructor(message: string, help: string, retryable = false) {
    super(message);
    this.help = help;
    this.retryable = retryable;
  }
}

/**
 * Limit of one answer. 100 container instances with all their attributes are about 1 MB; a much longer answer is not from
 * ECS and would exhaust the process's memory.
 */
const MAX_ANSWER_BYTES = 8 * 1_024 * 1_024;

/** Reads an answer's body. @throws AnswerError beyond the limit; the rest is not read */
export async function collectAnswer(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  // An error that ends the loop also destroys the stream and its connection.
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new AnswerError(`it is longer than ${MAX_ANSWER_BYTES / 1_024 / 1_024} MiB`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The exports of the SDK's bundle. */
export type Sdk = typeof import('./sdk.ts');
