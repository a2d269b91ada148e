import type { MetadataFacts } from '../record/facts.ts';
import { METADATA_FIELDS, METADATA_NAMES } from './metadata-fields.ts';
import { parseObject } from './parse-object.ts';
import { quote } from './quote.ts';
import { SourceError } from './source-error.ts';

const ACTION = 'IMDS instance identity document';

/**
 * The facts in an instance identity document. A key that is null is null, a key it lacks is absent, all others are
 * left alone: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html
 * @throws SourceError when it is no such document, or one value in it cannot be: then none of it is to be trusted
 */
export function parseIdentityDocument(text: string): Partial<MetadataFacts> {
  const document = parseObject(ACTION, text);
  const facts: [string, string | null][] = [];
  for (const name of METADATA_NAMES) {
    const { documentKey, expected, accepts } = METADATA_FIELDS[name];
    const value = documentKey === null ? undefined : document[documentKey];
    if (value === undefined && name !== 'ec2InstanceId') continue;
    const missing = value === null && name !== 'ec2InstanceId';
    if (!missing && !(typeof value === 'string' && accepts(value))) {
      throw new SourceError(
        `${ACTION}: ${documentKey}: expected ${expected}, got ${quote(JSON.stringify(value) ?? 'none')}`,
      );
    }
    facts.push([name, missing ? null : value]);
  }
  return Object.fromEntries(facts) as Partial<MetadataFacts>;
}
