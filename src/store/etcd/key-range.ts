import { JunkAnswerError } from './etcd-errors.ts';

/** etcd's `range_end` for all keys that start with `prefix`, which is not empty. UTF-8 has no byte 0xff to carry over. */
export function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix, 'utf8');
  const last = end.length - 1;
  end[last] = (end[last] ?? 0) + 1;
  return end;
}

/** @throws JunkAnswerError for a key outside of `root`: we asked for none */
export function withoutRoot(key: string, root: string): string {
  if (!key.startsWith(root)) throw new JunkAnswerError(`the answer has a key that does not start with ${root}`);
  return key.slice(root.length);
}

/** The store's revision from an answer's header; it is never 0. */
export function revisionOf({ header }: { readonly header: { readonly revision: string } | null }): string {
  if (header === null || header.revision === '0') throw new JunkAnswerError('the answer has no revision');
  return header.revision;
}
