import { readFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { RollcallError } from '../lib/errors.ts';

/** Another socket has the port: one that listens, or one end of a connection. */
export class PortInUseError extends RollcallError {}

/** The TCP sockets of this network namespace. Source: proc_net_tcp.rst of the kernel. */
const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'];

/** A row: its number, the local address and port, the remote ones, and the state, all in hexadecimal digits. */
const ROW = /^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) \S+ ([0-9A-F]{2}) /gm;

/** The state TCP_LISTEN. */
const LISTENING = '0A';

/**
 * Whether only connections have TCP port `port`, and no program listens where `host` would: Linux takes the ports of
 * outgoing connections from 32768 to 60999, and keeps one for up to 60 s after its connection has ended.
 * @param host an address or a name, without brackets
 * @returns false, too, where there are no such tables
 */
export async function isHeldByConnection(
  host: string,
  port: number,
  readTable = (path: string) => readFile(path, 'latin1'),
): Promise<boolean> {
  const tables = await Promise.all(TABLES.map((path) => readTable(path).catch(() => '')));
  const own = port.toString(16).toUpperCase().padStart(4, '0');
  const sockets = tables.flatMap((table) => [...table.matchAll(ROW)]).filter(([, , local]) => local === own);
  const listens = sockets.some(([, address = '', , state]) => state === LISTENING && overlaps(address, host));
  return !listens && sockets.some(([, , , state]) => state !== LISTENING);
}

/** Whether a listener on `address` keeps another from listening on `host`. One whose family is not known does. */
function overlaps(address: string, host: string): boolean {
  if (!isIPv4(host) || host === '0.0.0.0' || /^0+$/.test(address)) return true;
  // The kernel writes the bytes in the order of a little-endian machine, as all that rollcall runs on are.
  const bytes = host.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'));
  return address.endsWith(bytes.reverse().join('').toUpperCase());
}
