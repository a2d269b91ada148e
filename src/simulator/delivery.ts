import { TOKEN_PATH } from './answer-imds.ts';
import type { ImdsFault, IntrospectionFault } from './faults.ts';
import { type SimulatedAnswer, type SimulatedRequest, simulatedAnswer } from './simulated-answer.ts';

/** How an answer reaches the client: whole, cut off in its middle, or never. */
export type Delivery =
  | { readonly kind: 'whole'; readonly answer: SimulatedAnswer }
  /** The headers promise the whole body, then the connection breaks. */
  | { readonly kind: 'cut'; readonly answer: SimulatedAnswer }
  | { readonly kind: 'never' };

/** More than any reader of these services should take. */
const OVERSIZED_BYTES = 2_097_152;

const PAGE =
  '<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in to the network</body></html>\n';

/** What becomes of a true answer under a fault. `refuse` is none of its cases: nobody listens then. */
export function deliver(
  fault: ImdsFault | IntrospectionFault,
  request: SimulatedRequest,
  answer: SimulatedAnswer,
): Delivery {
  const whole = (changed: SimulatedAnswer): Delivery => ({ kind: 'whole', answer: changed });
  const isToken = request.path === TOKEN_PATH;
  switch (fault) {
    case 'hang':
      return { kind: 'never' };
    case 'token-hang':
      return isToken ? { kind: 'never' } : whole(answer);
    case 'error500':
      return whole(simulatedAnswer(500, 'text/plain; charset=utf-8', 'internal error\n'));
    case 'unauthorized':
      return whole(simulatedAnswer(401, 'text/plain; charset=utf-8', 'Unauthorized\n'));
    // Below, tokens stay good: a reader that never gets past the token would not meet the fault.
    case 'html':
      return whole(isToken ? answer : simulatedAnswer(200, 'text/html; charset=utf-8', PAGE));
    case 'truncated':
      return isToken ? whole(answer) : { kind: 'cut', answer };
    case 'oversized':
      // Spaces after JSON leave it good JSON: only a reader's own limit protects it.
      return whole(isToken ? answer : { ...answer, body: answer.body.padEnd(OVERSIZED_BYTES) });
    case 'wrong-type':
      return whole(isToken ? answer : { ...answer, body: mistype(answer.body) });
    default:
      return whole(answer);
  }
}

/** The same keys with values of another type; a leaf becomes a JSON object. */
function mistype(body: string): string {
  try {
    const keys = Object.keys(JSON.parse(body) as object);
    return JSON.stringify(Object.fromEntries(keys.map((key) => [key, 42])));
  } catch {
    return '{"unexpected":42}';
  }
}
