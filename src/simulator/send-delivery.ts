import type { ServerResponse } from 'node:http';
import type { Delivery } from './delivery.ts';

/** Sends an answer whole, or breaks the connection in its middle. */
export function sendDelivery(
  res: ServerResponse,
  method: string | undefined,
  delivery: Exclude<Delivery, { kind: 'never' }>,
): void {
  const { status, headers, body } = delivery.answer;
  const bytes = Buffer.from(body);
  res.writeHead(status, { ...headers, 'Content-Length': bytes.length });
  if (delivery.kind === 'whole') res.end(method === 'HEAD' ? undefined : bytes);
  else res.write(bytes.subarray(0, bytes.length / 2), () => res.destroy());
}
