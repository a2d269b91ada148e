import type { MetadataFacts } from '../record/facts.ts';
import { METADATA_NAMES } from './metadata-fields.ts';
import type { MetadataRead } from './read-metadata.ts';

export interface MergedMetadata {
  /** null until the instance id was read once. */
  readonly facts: MetadataFacts | null;
  /** Why the read was left aside and the last good facts stay; null when it was taken. */
  readonly refused: string | null;
}

/**
 * The facts after one more read. A read that lost what makes a node (its id, a private address it had) or that is of
 * another node is refused whole; in one that is taken, what could not be read keeps its last value.
 * @param source what was read, for messages
 */
export function mergeMetadata(last: MetadataFacts | null, read: MetadataRead, source = 'EC2 metadata'): MergedMetadata {
  const { facts } = read;
  const refuse = (refused: string): MergedMetadata => ({ facts: last, refused });
  const { ec2InstanceId } = facts;
  if (!ec2InstanceId) return refuse(`no instance id in this read of ${source}`);
  if (last && last.ec2InstanceId !== ec2InstanceId) {
    return refuse(
      `${source} is of another instance, ${ec2InstanceId}, not ${last.ec2InstanceId}; restart rollcall if this node was replaced`,
    );
  }
  if (last?.privateIpAddress && !facts.privateIpAddress) {
    return refuse(`no private address in this read of ${source}; the last one was ${last.privateIpAddress}`);
  }
  const merged = METADATA_NAMES.map((name) => [name, facts[name] ?? keep(last, facts, name)]);
  return { facts: Object.fromEntries(merged) as MetadataFacts, refused: null };
}

/** Read as null: there is no such thing any more. Not read: what was known stays. */
function keep(last: MetadataFacts | null, facts: Partial<MetadataFacts>, name: keyof MetadataFacts): string | null {
  return facts[name] === null ? null : (last?.[name] ?? null);
}
