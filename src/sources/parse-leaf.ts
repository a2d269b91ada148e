import type { MetadataField } from './metadata-fields.ts';
import { quote } from './quote.ts';
import { SourceError } from './source-error.ts';

/**
 * The value of one IMDS leaf: a single line of the field's shape.
 * @throws SourceError for an HTML page, several lines, or anything else that is not the field's
 */
export function parseLeaf(field: MetadataField, text: string): string {
  const line = text.replace(/\r?\n$/, '');
  // A VPC whose DHCP options list several domains makes local-hostname "name.first.example second.example".
  const value = field.leaf === 'meta-data/local-hostname' ? (line.split(' ')[0] ?? '') : line;
  if (field.accepts(value)) return value;
  throw new SourceError(`IMDS ${field.leaf}: expected ${field.expected}, got ${quote(text)}`);
}
