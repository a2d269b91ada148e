import { problem } from '../http/problem.ts';
import type { Reply } from '../http/reply.ts';

export function methodNotAllowed(method: string, path: string, allowed: string): Reply {
  const detail = `method ${method} is not allowed; ${allowed} is`;
  return problem(405, detail, { instance: path, headers: { Allow: allowed } });
}
