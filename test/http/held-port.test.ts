import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import { isListenedOn } from '../../src/http/held-port.ts';

const HEADER = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const row = (local: string, remote: string, state: string) =>
  `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000     0        0 22147 1 0000000000000000 100 0 0 10 0\n`;

/** Answers with these tables in place of the kernel's; undefined: there is none. */
const asked = (tcp: string | undefined, tcp6: string | undefined) =>
  isListenedOn(51_690, async (path) => (path.endsWith('6') ? tcp6 : tcp) ?? Promise.reject(new Error('ENOENT')));

test('a port that only an outgoing connection has, open or just ended, is not listened on', async () => {
  const outgoing = row('0100007F:C9EA', '0100007F:094B', '01') + row('0100007F:C9EA', '0100007F:094B', '06');
  assert.equal(await asked(HEADER + outgoing, HEADER), false);
  // The remote port, another local port, and a port that ends the same are others.
  assert.equal(await asked(HEADER + row('0100007F:1F90', '0100007F:C9EA', '0A'), undefined), false);
});

test('a port with a listener, of either family, is listened on', async () => {
  assert.equal(await asked(HEADER + row('0100007F:C9EA', '00000000:0000', '0A'), HEADER), true);
  const any6 = row(`${'0'.repeat(32)}:C9EA`, `${'0'.repeat(32)}:0000`, '0A');
  assert.equal(await asked(undefined, HEADER + any6), true);
});

test('where the kernel has no such tables, the port counts as listened on', async () => {
  assert.equal(await asked(undefined, undefined), true);
});

test('the kernel’s own tables are understood', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  assert.equal(await isListenedOn(port), true);
});
