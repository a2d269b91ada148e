import { once } from 'node:events';
import { createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { decodeRecord, encodePresence, encodeRecord } from '../../src/record/codec.ts';
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
import { presenceKey, RECORDS, recordKey } from '../../src/store/keys.ts';

interface StoredKey {
  readonly key: string;
  readonly value: string;
  readonly lease: string;
  readonly modRevision: string;
}

interface StandInEtcd {
  readonly url: string;
  /** Adds present nodes whose records are like the one that an agent has written. */
  addNodes(count: number): void;
  close(): void;
}

/**
 * Answers what a start asks etcd, on a free port of loopback: enough to run the code of the program that asks, no store. A
 * transaction always succeeds, and a lease never ends.
 */
export async function startStandInEtcd(): Promise<StandInEtcd> {
  const keys = new Map<string, StoredKey>();
  const leases = new Map<string, string>();
  let revision = 1;
  const header = () => ({ clusterId: '1', revision: String(revision) });
  const put = (key: string, value: string, lease: string) =>
    keys.set(key, { key, value, lease, modRevision: String(revision) });

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
        if (requestPut) put(String(requestPut.key), String(requestPut.value), requestPut.lease);
        if (requestDeleteRange) keys.delete(String(requestDeleteRange.key));
        return { responseRange: { kvs: found ? [found] : [] } };
      });
      return TXN.response.encode({ header: header(), succeeded: true, responses });
    },
    [RANGE.path](message) {
      const { key, rangeEnd, limit } = RANGE.request.decode(message);
      const [from, to] = [String(key), String(rangeEnd)];
      const kvs = [...keys.values()].filter((each) => each.key >= from && each.key < to);
      kvs.sort((a, b) => (a.key < b.key ? -1 : 1));
      const entries = kvs.slice(0, Number(limit) || kvs.length).map(({ lease: _, ...entry }) => entry);
      const more = entries.length < kvs.length;
      return RANGE.response.encode({ header: header(), kvs: entries, more, count: String(kvs.length) });
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
    addNodes(count) {
      const written = [...keys.values()].find(({ key }) => key.includes(RECORDS));
      const [root = '', instanceId = ''] = written?.key.split(RECORDS) ?? [];
      const decoded = decodeRecord(instanceId, written?.value ?? '');
      if (!decoded.ok) throw new Error(`the record of an agent: ${decoded.reason}`);
      const { session } = decoded.value.sidecar;
      const presence = encodePresence({ session, since: decoded.value.registeredAt, ttlSeconds: 30 });
      for (let n = 0; n < count; n += 1) {
        const ec2InstanceId = `i-0${n.toString(16).padStart(16, '0')}`;
        const record = encodeRecord({ ...decoded.value, ec2InstanceId, departure: null });
        put(root + recordKey(ec2InstanceId), record, '0');
        put(root + presenceKey(ec2InstanceId), presence, '0');
      }
    },
    close: () => {
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}
