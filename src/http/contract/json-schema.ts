/** A JSON Schema of the draft 2020-12, which OpenAPI 3.1 uses as it is. */
export interface Schema {
  readonly [keyword: string]: unknown;
}

/** Names a schema that stands elsewhere in the same document. */
export type Ref = (name: string) => Schema;

const described = (schema: Schema, description?: string): Schema =>
  description === undefined ? schema : { ...schema, description };

export const text = (description?: string): Schema => described({ type: 'string' }, description);
export const instant = (description?: string): Schema =>
  described({ type: 'string', format: 'date-time' }, description);
export const count = (description?: string): Schema => described({ type: 'integer', minimum: 0 }, description);
export const flag = (description?: string): Schema => described({ type: 'boolean' }, description);
export const oneOf = (values: readonly string[], description?: string): Schema =>
  described({ type: 'string', enum: values }, description);
export const listOf = (items: Schema, description?: string): Schema => described({ type: 'array', items }, description);

/** Not known, or there is none. */
export function orNull(schema: Schema): Schema {
  const { type, description, ...rest } = schema;
  if (typeof type === 'string' && !('enum' in schema))
    return described({ type: [type, 'null'], ...rest }, description as string);
  return { anyOf: [schema, { type: 'null' }] };
}

/**
 * All properties are required but those named in `optional`. More properties may come with later versions: readers ignore
 * what they do not know.
 */
export function objectOf(properties: Readonly<Record<string, Schema>>, optional: readonly string[] = []): Schema {
  return { type: 'object', properties, required: Object.keys(properties).filter((name) => !optional.includes(name)) };
}

/** An object of texts or numbers under names that are not fixed. */
export const mapOf = (values: Schema, description?: string): Schema =>
  described({ type: 'object', additionalProperties: values }, description);

/** A decimal number as text: etcd's revisions have 64 bits. */
export const revision: Schema = {
  type: 'string',
  pattern: '^[0-9]{1,19}$',
  description: 'Revision of the store, a number of 64 bits as text',
};
