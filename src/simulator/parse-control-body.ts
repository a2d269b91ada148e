import { UsageError } from '../errors.ts';

/** @throws UsageError when it is not JSON */
export function parseControlBody(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new UsageError('the body is not JSON');
  }
}
