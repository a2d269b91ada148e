// Many readers of one event stream, in a process of their own: node event-readers.ts URL READERS SILENT
// Prints "open" when all of them have an answer. Ends on SIGTERM and then prints [revision, [ms, …]] for each revision:
// the monotonic instants at which the readers got it. SILENT more connect and never read.
import { connect } from 'node:net';
import { systemClock } from '../../src/lib/clock.ts';
import { type Arrivals, noteArrivals } from './arrivals.ts';

const AT_ONCE = 50;

const [address = '', readers = '0', silent = '0'] = process.argv.slice(2);
const { hostname, port, host, pathname, search } = new URL(address);
const request = `GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nAccept: text/event-stream\r\n\r\n`;
const arrivals: Arrivals = new Map();
/** One buffer for all sockets: each piece is processed before the next is read. */
const shared = Buffer.alloc(65_536);

process.once('SIGTERM', () => {
  process.stdout.write(`${JSON.stringify([...arrivals])}\n`, () => process.exit(0));
});

for (let open = 0; open < Number(readers); open += AT_ONCE) {
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, Number(readers) - open) }, read));
}
for (let n = 0; n < Number(silent); n += 1)
  connect({ port: Number(port), host: hostname })
    .pause()
    .write(request);
process.stdout.write('open\n');

/** Resolves at the first piece of the answer; a refusal or a lost connection ends the process. */
function read(): Promise<void> {
  return new Promise((resolve) => {
    const take = noteArrivals('\nid: ', arrivals, systemClock.monotonicMs);
    let answered = false;
    const onread = {
      buffer: shared,
      callback: (size: number) => {
        const chunk = shared.subarray(0, size);
        if (!answered && !chunk.includes('HTTP/1.1 200')) throw new Error(chunk.toString('latin1', 0, 500));
        answered = true;
        resolve();
        take(chunk);
        return true;
      },
    };
    const socket = connect({ port: Number(port), host: hostname, onread });
    socket.once('close', () => {
      throw new Error('a reader lost its connection');
    });
    socket.write(request);
  });
}
