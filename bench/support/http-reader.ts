// One GET after another on one connection, in a process of their own, so that no other work of the benchmark is measured:
// node http-reader.ts URL COUNT PAUSE_MS ACCEPT_ENCODING
// Prints [[firstMs, wholeMs, bytes], …] after COUNT answers or on SIGTERM: until the first and the last byte of the body.
// It counts the bytes as they come out of the socket, and keeps none.
import { connect } from 'node:net';
import { systemClock } from '../../src/lib/clock.ts';

const [address = '', count = '1', pauseMs = '0', encoding = 'identity'] = process.argv.slice(2);
const { hostname, port, host, pathname, search } = new URL(address);
const request = `GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nAccept-Encoding: ${encoding}\r\n\r\n`;
const LINE_END = 0x0a;
const answers: [firstMs: number, wholeMs: number, bytes: number][] = [];
const { monotonicMs } = systemClock;

let sentMs = 0;
let firstMs = 0;
let bytes = 0;
/** Bytes to come of the body, or of its present chunk. */
let left = 0;
let length = 0;
let line = '';
let part: 'head' | 'body' | 'end' = 'head';
let isChunked = false;

process.once('SIGTERM', finish);
const onread = { buffer: Buffer.alloc(262_144), callback: take };
const socket = connect({ port: Number(port), host: hostname, onread }, ask);
socket.once('close', () => {
  throw new Error(`the connection was closed after ${answers.length} answers`);
});

function ask() {
  [part, isChunked, length, bytes, firstMs] = ['head', false, 0, 0, 0];
  sentMs = monotonicMs();
  socket.write(request);
}

function take(size: number): boolean {
  const piece = onread.buffer;
  for (let at = 0; at < size; ) {
    if (left > 0) {
      const here = Math.min(left, size - at);
      firstMs ||= monotonicMs() - sentMs;
      left -= here;
      bytes += here;
      at += here;
      if (left === 0 && !isChunked) takeEnd();
      continue;
    }
    const end = piece.subarray(0, size).indexOf(LINE_END, at);
    line += piece.toString('latin1', at, end === -1 ? size : end);
    if (end === -1) break;
    at = end + 1;
    const whole = line.trimEnd();
    line = '';
    takeLine(whole);
  }
  return true;
}

/** Of the head, or before and after a chunk (RFC 9112, section 7.1). */
function takeLine(text: string) {
  if (part === 'head') {
    if (text.startsWith('HTTP/') && !text.startsWith('HTTP/1.1 200 ')) throw new Error(text);
    if (/^transfer-encoding: *chunked$/i.test(text)) isChunked = true;
    length = Number(/^content-length: *(\d+)$/i.exec(text)?.[1] ?? length);
    if (text !== '') return;
    part = 'body';
    left = length;
  } else if (part === 'end') {
    takeEnd();
  } else if (text !== '') {
    left = Number.parseInt(text, 16);
    if (left === 0) part = 'end';
  }
}

function takeEnd() {
  answers.push([firstMs, monotonicMs() - sentMs, bytes]);
  if (answers.length === Number(count)) finish();
  else setTimeout(ask, Number(pauseMs));
}

function finish() {
  process.stdout.write(`${JSON.stringify(answers)}\n`, () => process.exit(0));
}
