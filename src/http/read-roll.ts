import { describeError } from '../errors.ts';
import type { Registry, RegistryRead } from '../registry/registry.ts';
import { StoreError } from '../store/store-error.ts';
import { problem } from './problem.ts';
import type { Reply, RouteRequest } from './reply.ts';

/** Time after which asking again makes sense: the registry itself tries the store again within 5 s. */
const RETRY_AFTER = { 'Retry-After': '5' };

/** The roll for a route, or the 503 that says why there is none. */
export async function readRoll(
  registry: Pick<Registry, 'read'>,
  { path, signal }: RouteRequest,
): Promise<RegistryRead | Reply> {
  try {
    return await registry.read(signal);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return unavailable(describeError(error), path);
  }
}

/** For now. Never an empty list or a 404 in its place: those would say that nodes are gone. */
export function unavailable(detail: string, path: string): Reply {
  return problem(503, detail, { instance: path, headers: RETRY_AFTER });
}
