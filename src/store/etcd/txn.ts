import type { Guard, Kv, Txn, TxnResult } from '../kv.ts';
import { toBase64 } from './bytes.ts';
import type { Gateway } from './gateway.ts';
import {
  flagField,
  headerRevision,
  type JsonObject,
  JunkAnswerError,
  objectField,
  objectsField,
} from './json-fields.ts';
import { parseKeyValue } from './kv-fields.ts';

/** @param root what every key of ours starts with */
export function etcdTxn(gateway: Gateway, root: string): Kv['txn'] {
  return (txn, signal) => {
    // A write that may have been carried out is not sent again here: its guards would then fail on its own doing.
    const repeatable = txn.puts.length === 0 && txn.deletes.length === 0;
    return gateway.call({ path: '/v3/kv/txn', body: txnBody(txn, root), repeatable }, signal, (answer) =>
      parseTxn(answer, txn.reads.length, root),
    );
  };
}

function txnBody(txn: Txn, root: string): unknown {
  const key = (name: string) => toBase64(root + name);
  // etcd carries out the operations in order within one revision, so reads placed first see the state before the writes.
  const reads = txn.reads.map((name) => ({ request_range: { key: key(name) } }));
  return {
    compare: txn.guards.map((guard) => ({ key: key(guard.key), result: 'EQUAL', ...target(guard) })),
    success: [
      ...reads,
      ...txn.puts.map((put) => ({
        request_put: { key: key(put.key), value: toBase64(put.value), lease: put.lease },
      })),
      ...txn.deletes.map((name) => ({ request_delete_range: { key: key(name) } })),
    ],
    failure: reads,
  };
}

/** A key that does not exist compares as lease 0 and mod revision 0. */
function target(guard: Guard): Readonly<Record<string, string>> {
  return 'lease' in guard
    ? { target: 'LEASE', lease: guard.lease }
    : { target: 'MOD', mod_revision: guard.modRevision };
}

function parseTxn(answer: JsonObject, readCount: number, root: string): TxnResult {
  const responses = objectsField(answer, 'responses');
  if (responses.length < readCount)
    throw new JunkAnswerError('the answer has fewer responses than the transaction has reads');
  return {
    succeeded: flagField(answer, 'succeeded'),
    revision: headerRevision(answer),
    reads: responses.slice(0, readCount).map((response) => {
      const [kv] = objectsField(objectField(response, 'response_range'), 'kvs');
      return kv === undefined ? null : parseKeyValue(kv, root);
    }),
  };
}
