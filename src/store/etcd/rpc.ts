import { message } from './protobuf.ts';

/**
 * What rollcall says to etcd, and of the answers what it reads. Methods, messages and field numbers are those of
 * api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto (https://github.com/etcd-io/etcd/tree/main/api), the same from etcd
 * 3.2 to 3.6. What is not in a table is passed over.
 */

export const ResponseHeader = message({ clusterId: [1, 'int64'], revision: [3, 'int64'] });

/** Keys and values are bytes; ours are UTF-8. Of others' bytes U+FFFD takes the place of what is no UTF-8. */
const KeyValue = message({
  key: [1, 'text'],
  createRevision: [2, 'int64'],
  modRevision: [3, 'int64'],
  value: [5, 'text'],
  lease: [6, 'int64'],
});

/** One key of a RangeResponse, with the used fields only. */
const Entry = message({ key: [1, 'text'], modRevision: [3, 'int64'], value: [5, 'text'] }, (cursor) => {
  let key = '';
  let modRevision = '0';
  let value = '';
  for (let id = cursor.next(); id !== 0; id = cursor.next()) {
    if (id === 1) key = cursor.text();
    else if (id === 3) modRevision = cursor.int64();
    else if (id === 5) value = cursor.text();
    else cursor.skip();
  }
  return { key, modRevision, value };
});

const RangeRequest = message({
  key: [1, 'bytes'],
  rangeEnd: [2, 'bytes'],
  limit: [3, 'int64'],
  revision: [4, 'int64'],
  serializable: [7, 'flag'],
  keysOnly: [8, 'flag'],
  countOnly: [9, 'flag'],
  /** From etcd 3.1. */
  minModRevision: [10, 'int64'],
});

const RangeResponse = message({
  header: [1, ResponseHeader],
  kvs: [2, Entry, 'repeated'],
  more: [3, 'flag'],
  count: [4, 'int64'],
});

/** The keys of a range response as they are: a foreign key need not be UTF-8. */
export const RangeKeys = message({ kvs: [2, message({ key: [1, 'bytes'] }), 'repeated'] });

/** `result` is left out: EQUAL. */
const Compare = message({ target: [2, 'int64'], key: [3, 'bytes'], modRevision: [6, 'int64'], value: [7, 'bytes'] });
export const COMPARE_MOD = '2';
export const COMPARE_VALUE = '3';

const RequestOp = message({
  requestRange: [1, message({ key: [1, 'bytes'] })],
  requestPut: [2, message({ key: [1, 'bytes'], value: [2, 'bytes'], lease: [3, 'int64'] })],
  requestDeleteRange: [3, message({ key: [1, 'bytes'] })],
});

const TxnRequest = message({
  compare: [1, Compare, 'repeated'],
  success: [2, RequestOp, 'repeated'],
  failure: [3, RequestOp, 'repeated'],
});

const TxnResponse = message({
  header: [1, ResponseHeader],
  succeeded: [2, 'flag'],
  responses: [3, message({ responseRange: [1, message({ kvs: [2, KeyValue, 'repeated'] })] }), 'repeated'],
});

const Event = message({
  /** 0: put, 1: delete. */
  type: [1, 'int64'],
  kv: [2, KeyValue],
  prevKv: [3, KeyValue],
});
export type WatchEvent = ReturnType<typeof Event.decode>;

export const WatchRequest = message({
  createRequest: [
    1,
    message({
      key: [1, 'bytes'],
      rangeEnd: [2, 'bytes'],
      startRevision: [3, 'int64'],
      progressNotify: [4, 'flag'],
      /** From etcd 3.1. */
      prevKv: [6, 'flag'],
      /** From etcd 3.4; an older one sends every answer whole. */
      fragment: [8, 'flag'],
    }),
  ],
});

export const WatchResponse = message({
  header: [1, ResponseHeader],
  created: [3, 'flag'],
  canceled: [4, 'flag'],
  compactRevision: [5, 'int64'],
  cancelReason: [6, 'text'],
  fragment: [7, 'flag'],
  events: [11, Event, 'repeated'],
});
export const WATCH = '/etcdserverpb.Watch/Watch';

const method = <Q, A>(path: string, request: Q, response: A) => ({ path: `/etcdserverpb.${path}`, request, response });

export const RANGE = method('KV/Range', RangeRequest, RangeResponse);
export const TXN = method('KV/Txn', TxnRequest, TxnResponse);
export const LEASE_GRANT = method(
  'Lease/LeaseGrant',
  message({ ttl: [1, 'int64'], id: [2, 'int64'] }),
  message({ id: [2, 'int64'], ttl: [3, 'int64'] }),
);
export const LEASE_REVOKE = method('Lease/LeaseRevoke', message({ id: [1, 'int64'] }), message({}));
/** Of streams: each message is answered by one. */
export const LEASE_KEEP_ALIVE = method(
  'Lease/LeaseKeepAlive',
  message({ id: [1, 'int64'] }),
  message({ id: [2, 'int64'], ttl: [3, 'int64'] }, (cursor) => {
    let [id, ttl] = ['0', '0'];
    for (let field = cursor.next(); field !== 0; field = cursor.next()) {
      if (field === 2) id = cursor.int64();
      else if (field === 3) ttl = cursor.int64();
      else cursor.skip();
    }
    return { id, ttl };
  }),
);
/** From etcd 3.1. */
export const LEASE_TIME_TO_LIVE = method(
  'Lease/LeaseTimeToLive',
  message({ id: [1, 'int64'], keys: [2, 'flag'] }),
  message({ id: [2, 'int64'], ttl: [3, 'int64'], grantedTtl: [4, 'int64'], keys: [5, 'bytes', 'repeated'] }),
);
export const MEMBER_LIST = method(
  'Cluster/MemberList',
  message({}),
  message({ members: [2, message({ id: [1, 'int64'], name: [2, 'text'] }), 'repeated'] }),
);
export const STATUS = method(
  'Maintenance/Status',
  message({}),
  message({ version: [2, 'text'], leader: [4, 'int64'] }),
);
export const AUTHENTICATE = method(
  'Auth/Authenticate',
  message({ name: [1, 'text'], password: [2, 'text'] }),
  message({ token: [2, 'text'] }),
);
