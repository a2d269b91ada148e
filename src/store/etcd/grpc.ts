import { boundedAnswer, type HttpPool } from '../../lib/http-client.ts';
import { GatewayRefusal, JunkAnswerError } from './errors.ts';

/** A flag (0: not compressed) and the message's length, before each message. */
const PREFIX_BYTES = 5;

/**
 * One unary gRPC call over HTTP/2: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 * @param path such as `/etcdserverpb.KV/Range`
 * @returns the answer's message
 * @throws GatewayRefusal with gRPC's code, BodyTooLargeError, JunkAnswerError, or what happened on the wire
 */
export async function grpcCall(
  pool: HttpPool,
  path: string,
  headers: Readonly<Record<string, string>>,
  message: Buffer,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Buffer> {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(message.length, 1);
  const answer = await boundedAnswer(pool, {
    method: 'POST',
    path,
    headers: { ...headers, 'content-type': 'application/grpc', te: 'trailers' },
    body: Buffer.concat([prefix, message]),
    maxBytes,
    signal,
  });
  // A refusal has no body, and its status stands in the headers; any other status follows the body.
  const ended: Readonly<Record<string, unknown>> = { ...answer.headers, ...answer.trailers };
  const status = ended['grpc-status'];
  if (answer.status !== 200 || typeof status !== 'string') {
    throw new JunkAnswerError(`no gRPC answer: HTTP status ${answer.status}`);
  }
  if (status !== '0') throw new GatewayRefusal(Number(status), statusMessage(ended['grpc-message']));
  const { body } = answer;
  if (body.length < PREFIX_BYTES || body.length !== PREFIX_BYTES + body.readUInt32BE(1)) {
    throw new JunkAnswerError('a gRPC answer that is cut short');
  }
  // Nothing was said about compression, so nothing may be compressed.
  if (body[0] !== 0) throw new JunkAnswerError('a gRPC answer that is compressed');
  return body.subarray(PREFIX_BYTES);
}

/** It travels percent-encoded; what is not is taken as it is. */
function statusMessage(message: unknown): string {
  if (typeof message !== 'string' || message === '') return 'no reason given';
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}
