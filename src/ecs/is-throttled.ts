import { EcsError } from './ecs-error.ts';

/** AWS had more requests of the whole account than it answers, after all that the SDK tried by itself. */
export function isThrottled(error: unknown): boolean {
  return error instanceof EcsError && /^Throttl|^TooManyRequests|^RequestLimit|^RequestThrottled/.test(error.code);
}
