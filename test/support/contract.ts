import assert from 'node:assert/strict';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

type Json = Readonly<Record<string, unknown>>;

/** With no property but those it names: what an answer has beyond its schema is a gap of the schema. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const whole = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return 'properties' in whole ? { additionalProperties: false, ...whole } : whole;
}

function validatorOf(document: unknown) {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  ajv.addSchema({ ...(closed(document) as Json), $id: 'urn:rollcall:document' });
  return (pointer: string, value: unknown) => {
    const validate = ajv.getSchema(`urn:rollcall:document${pointer}`) ?? assert.fail(`no schema at ${pointer}`);
    assert.ok(validate(value), `${pointer}: ${ajv.errorsText(validate.errors)}`);
  };
}

export type Contract = ReturnType<typeof contractOf>;

/** Checks real answers against an OpenAPI document. */
export function contractOf(document: Json) {
  const validate = validatorOf(document);
  const named = (name: string, value: unknown) => validate(`#/components/schemas/${name}`, value);
  return {
    named,
    /** The answer of an agent at `url` to a GET. @param template of the path in the document @returns the body */
    async answer(url: string, path: string, template = path.split('?')[0] ?? '') {
      const answer = await fetch(`${url}${path}`);
      const type = answer.headers.get('content-type')?.split(';')[0] ?? '';
      const body = (await answer.json()) as Json;
      const { responses } = (document['paths'] as Record<string, { get: { responses: Json } }>)[template]?.get ?? {
        responses: {},
      };
      const status = String(answer.status) in responses ? String(answer.status) : 'default';
      const at = ['paths', template, 'get', 'responses', status, 'content', type, 'schema'];
      const escaped = at.map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1'));
      validate(`#/${escaped.map(encodeURIComponent).join('/')}`, body);
      return { status: answer.status, body };
    },
  };
}

/** Checks values against one of docs/schema/. */
export function schemaOf(document: unknown): (value: unknown) => void {
  const validate = validatorOf(document);
  return (value) => validate('', value);
}
