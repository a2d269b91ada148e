import { STATUS_CODES } from 'node:http';
import { problem } from './problem.ts';

/**
 * The whole HTTP/1.1 answer to bytes that are no request. There is no request object then, and so no other way than to
 * write the answer by hand.
 * @param code of the error that node:http gives to `clientError`
 */
export function clientErrorAnswer(code: string | undefined): string {
  const { status, detail } = describe(code);
  const { contentType, body } = problem(status, detail);
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `Content-Type: ${contentType}`,
    `Content-Length: ${Buffer.byteLength(String(body))}`,
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    'Connection: close',
    '',
    String(body),
  ].join('\r\n');
}

function describe(code: string | undefined): { status: number; detail: string } {
  if (code === 'HPE_HEADER_OVERFLOW') return { status: 431, detail: 'the headers are longer than this server takes' };
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return { status: 408, detail: 'the request did not arrive in time' };
  return { status: 400, detail: 'not an HTTP/1.1 request' };
}
