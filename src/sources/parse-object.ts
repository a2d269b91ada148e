import { quote } from './quote.ts';
import { SourceError } from './source-error.ts';

/**
 * A JSON object from a source's answer, whatever content type it came with: ecs-agent 1.0.0 and IMDS send JSON as text.
 * @throws SourceError for an HTML page, a truncated body, or JSON that is not an object
 */
export function parseObject(action: string, text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SourceError(`${action}: expected a JSON object, got ${quote(text)}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SourceError(`${action}: expected a JSON object, got ${quote(text)}`);
  }
  return value as Record<string, unknown>;
}
