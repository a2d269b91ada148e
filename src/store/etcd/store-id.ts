import type { Kv } from '../kv.ts';
import { toBase64 } from './bytes.ts';
import type { Gateway } from './gateway.ts';
import { int64Field, JunkAnswerError, objectField } from './json-fields.ts';

/** The cluster's id as `etcdctl member list -w hex` writes it, and the prefix. @param root what every key of ours starts with */
export function etcdStoreId(gateway: Gateway, root: string): Kv['id'] {
  // Every header has the cluster's id. This read needs no more than the permission we have, and no leader.
  const body = { key: toBase64(root), count_only: true, serializable: true };
  return (signal) =>
    gateway.call({ path: '/v3/kv/range', body, repeatable: true }, signal, (answer) => {
      const clusterId = BigInt(int64Field(objectField(answer, 'header'), 'cluster_id'));
      if (clusterId === 0n) throw new JunkAnswerError('the answer names no cluster');
      return `${clusterId.toString(16)}${root.slice(0, -1)}`;
    });
}
