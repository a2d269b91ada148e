import { once } from 'node:events';
import { createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import {
  LEASE_GRANT,
  LEASE_KEEP_ALIVE,
  LEASE_REVOKE,
  RANGE,
  TXN,
  WATCH,
  WatchRequest,
  WatchResponse,
} from '../../src/store/etcd/rpc.ts';

interface StoredKey {
  readonly key: string;
  readonly value: string;
  readonly lease: string;
  readonly modRevision: string;
}

/**
 * Answers what a start asks etcd, on a free port of loopback: enough to run the code of the program that asks, no store. A
 * transaction always succeeds, and a lease never ends.
 */
export async function startStandInEtcd(): Promise<{ readonly url: string; close(): void }> {
  const keys = new Map<string, StoredKey>();
  const leases = new Map<string, string>();
  let revision = 1;
  const header = () => ({ clusterId: '1', revision: String(revision) });

  const answers: Readonly<Record<string, (message: Buffer) => Buffer>> = {
    [LEASE_GRANT.path](message) {
      const { id, ttl } = LEASE_GRANT.request.decode(message);
      leases.set(id, ttl);
      return LEASE_GRANT.response.encode({ id, ttl });
    },
    [LEASE_KEEP_ALIVE.path](message) {
      const { id } = LEASE_KEEP_ALIVE.request.decode(message);
      return LEASE_KEEP_ALIVE.response.encode({ id, ttl: leases.get(id) ?? '0' });
    },
    [LEASE_REVOKE.path]: () => LEASE_REVOKE.response.encode({}),
    [TXN.path](message) {
      const operations = TXN.request.decode(message).success;
      if (operations.some(({ requestRange }) => requestRange === null)) revision += 1;
      const responses = operations.map(({ requestRange, requestPut, requestDeleteRange }) => {
        const found = requestRange && keys.get(String(requestRange.key));
        if (requestPut) {
          const [key, value] = [String(requestPut.key), String(requestPut.value)];
          keys.set(key, { key, value, lease: requestPut.lease, modRevision: String(revision) });
        }
        if (requestDeleteRange) keys.delete(String(requestDeleteRange.key));
        return { responseRange: { kvs: found ? [found] : [] } };
      });
      return TXN.response.encode({ header: header(), succeeded: true, responses });
    },
    [RANGE.path](message) {
      const { key, rangeEnd } = RANGE.request.decode(message);
      const [from, to] = [String(key), String(rangeEnd)];
      const kvs = [...keys.values()].filter((each) => each.key >= from && each.key < to);
      kvs.sort((a, b) => (a.key < b.key ? -1 : 1));
      const entries = kvs.map(({ lease: _, ...entry }) => entry);
      return RANGE.response.encode({ header: header(), kvs: entries, count: String(kvs.length) });
    },
    [WATCH]: (message) => WatchResponse.encode({ header: header(), created: WatchRequest.decode(message) !== null }),
  };

  const server = createServer();
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => sessions.add(session));
  server.on('stream', (stream: ServerHttp2Stream, { ':path': path = '' }) => {
    stream.on('error', () => {});
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    // Each message of the program comes in one piece: five bytes, and what they announce.
    stream.on('data', (message: Buffer) => {
      const answer = answers[path]?.(message.subarray(5)) ?? Buffer.alloc(0);
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(answer.length, 1);
      stream.write(Buffer.concat([prefix, answer]));
    });
    stream.on('end', () => stream.end());
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `etcd://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}
