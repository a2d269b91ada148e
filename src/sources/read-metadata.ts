import { describeError } from '../errors.ts';
import type { MetadataFacts } from '../record/facts.ts';
import { attempt } from './attempt.ts';
import type { ImdsClient } from './imds-client.ts';
import { METADATA_FIELDS, METADATA_NAMES } from './metadata-fields.ts';
import { parseIdentityDocument } from './parse-identity-document.ts';
import { parseLeaf } from './parse-leaf.ts';
import { SourceError } from './source-error.ts';

/** Short, so that one slow leaf cannot hold back the registration. */
const LEAF_TIMEOUT_MS = 500;

const DOCUMENT_PATH = 'dynamic/instance-identity/document';

/** One pass over IMDS. A fact that could not be read is absent, and why is among the failures. */
export interface MetadataRead {
  readonly facts: Partial<MetadataFacts>;
  /** One line each; empty when all was read. */
  readonly failures: readonly string[];
}

/**
 * Reads the identity document, then, in parallel and failing independently, the leaves of all facts it did not give.
 * Rejects only with the signal's reason.
 */
export async function readMetadata(imds: ImdsClient, signal: AbortSignal): Promise<MetadataRead> {
  const document = await attempt(() => readDocument(imds, signal));
  // Ten more reads of a service that is not there would add nothing but time and ten more lines.
  if ('error' in document && document.error.unreachable) return { facts: {}, failures: [document.error.message] };

  const known: Partial<MetadataFacts> = 'error' in document ? {} : document.value;
  const failures = 'error' in document ? [describeError(document.error)] : [];
  const leaves: Partial<Record<keyof MetadataFacts, string | null>> = {};
  await Promise.all(
    METADATA_NAMES.map(async (name) => {
      if (known[name] !== undefined || METADATA_FIELDS[name].leaf === null) return;
      const leaf = await attempt(() => readLeaf(imds, name, signal));
      if ('error' in leaf) failures.push(describeError(leaf.error));
      else leaves[name] = leaf.value;
    }),
  );
  return { facts: { ...known, ...leaves } as Partial<MetadataFacts>, failures };
}

async function readDocument(imds: ImdsClient, signal: AbortSignal): Promise<Partial<MetadataFacts>> {
  const text = await imds.get(DOCUMENT_PATH, signal);
  if (text === null) throw new SourceError(`IMDS ${DOCUMENT_PATH}: HTTP 404`);
  return parseIdentityDocument(text);
}

async function readLeaf(imds: ImdsClient, name: keyof MetadataFacts, signal: AbortSignal): Promise<string | null> {
  const field = METADATA_FIELDS[name];
  const text = await imds.get(field.leaf ?? '', signal, LEAF_TIMEOUT_MS);
  // Every instance has an id: here alone "no data" is a failure.
  if (text === null && name === 'ec2InstanceId') throw new SourceError(`IMDS ${field.leaf}: HTTP 404`);
  return text === null ? null : parseLeaf(field, text);
}
