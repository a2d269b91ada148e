import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { isHeldByConnection } from '../../src/http/held-port.ts';

const HEADER = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const row = (local: string, remote: string, state: string) =>
  `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000     0        0 22147 1 0000000000000000 100 0 0 10 0\n`;
const connection = row('0100007F:C9EA', '0100007F:094B', '01');

/** Answers with these tables in place of the kernel's; undefined: there is none. */
const asked = (tcp: string | undefined, tcp6: string | undefined = HEADER, host = '127.0.0.1') =>
  isHeldByConnection(
    host,
    51_690,
    async (path) => (path.endsWith('6') ? tcp6 : tcp) ?? Promise.reject(new Error('ENOENT')),
  );

test('a port that only a connection has, open or just ended, is held by it', async () => {
  assert.equal(await asked(HEADER + connection), true);
  assert.equal(await asked(HEADER + row('0100007F:C9EA', '0100007F:094B', '06')), true);
  // The remote port, and another local port, are others.
  assert.equal(await asked(HEADER + row('0100007F:1F90', '0100007F:C9EA', '01')), false);
});

test('a port with a listener where the agent would listen is not', async () => {
  const zeros = '0'.repeat(32);
  const any = row('00000000:C9EA', '00000000:0000', '0A');
  const any6 = row(`${zeros}:C9EA`, `${zeros}:0000`, '0A');
  const own = row('0100007F:C9EA', '00000000:0000', '0A');
  const mapped = row('0000000000000000FFFF00000100007F:C9EA', `${zeros}:0000`, '0A');
  for (const listener of [any, own]) assert.equal(await asked(HEADER + connection + listener), false, listener);
  for (const listener of [any6, mapped])
    assert.equal(await asked(HEADER + connection, HEADER + listener), false, listener);
  // One on another address of this host, 10.113.0.5, is in the way of all addresses only.
  const other = HEADER + connection + row('0500710A:C9EA', '00000000:0000', '0A');
  assert.equal(await asked(other), true);
  for (const host of ['0.0.0.0', '::', 'localhost', '10.113.0.5'])
    assert.equal(await asked(other, HEADER, host), false, host);
});

test('where the kernel has no such tables, or no socket has the port, nothing is known to hold it', async () => {
  assert.equal(await isHeldByConnection('127.0.0.1', 51_690, () => Promise.reject(new Error('ENOENT'))), false);
  assert.equal(await asked(HEADER), false);
});

test('the kernel’s own tables are understood', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect(port, '127.0.0.1');
  t.after(() => {
    client.destroy();
    server.close();
  });
  await once(client, 'connect');
  assert.equal(await isHeldByConnection('127.0.0.1', port), false);
  assert.equal(await isHeldByConnection('127.0.0.1', client.localPort ?? assert.fail()), true);
});
