import { EcsError } from './ecs-error.ts';

/** ECS was asked and said no, or could not even be asked for want of credentials: trying again helps only once somebody changed something. */
export function isRefusal(error: unknown): boolean {
  return error instanceof EcsError && !error.retryable;
}
