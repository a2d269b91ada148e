import { type JsonObject, objectField, parseObject, textField } from './json-fields.ts';

/** etcd answered, and the answer is no. `code` is gRPC's: https://grpc.io/docs/guides/status-codes/ */
export class GatewayRefusal extends Error {
  override readonly name = 'GatewayRefusal';
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Marks an answer that no etcd gives: its status with the start of its text. Some proxy or balancer stands in between. */
const UNAVAILABLE = 14;

/**
 * One answer of a unary call, or one line of a streamed one (whose `result` is unwrapped).
 *
 * Refusals come in three shapes, all observed: `{"error","message","code"}` (3.4), `{"code","message","details"}`
 * (3.5 and 3.6), and on streams `{"error":{"grpc_code","http_code","message"}}` (3.4; newer: `{"error":{"code","message"}}`).
 * @throws GatewayRefusal, or JunkAnswerError for what is none of these
 */
export function parseAnswer(status: number, text: string): JsonObject {
  const answer = parseGatewayJson(status, text);
  const wrapped = answer['error'];
  if (typeof wrapped === 'object' && wrapped !== null) {
    const error = objectField(answer, 'error');
    throw new GatewayRefusal(codeOf(error), textField(error, 'message') || 'no reason given');
  }
  if (status !== 200 || typeof wrapped === 'string') {
    const message = textField(answer, 'message') || textField(answer, 'error') || `HTTP status ${status}`;
    throw new GatewayRefusal(codeOf(answer), message);
  }
  return answer['result'] === undefined ? answer : objectField(answer, 'result');
}

function parseGatewayJson(status: number, text: string): JsonObject {
  try {
    return parseObject(text);
  } catch (error) {
    if (status === 200 || !(error instanceof Error)) throw error;
    throw new GatewayRefusal(UNAVAILABLE, `HTTP status ${status}, ${error.message}`);
  }
}

/** Without a code the refusal is not etcd's own: unknown (2), which another endpoint may do better. */
function codeOf(object: JsonObject): number {
  for (const name of ['code', 'grpc_code']) if (typeof object[name] === 'number') return object[name];
  return 2;
}
