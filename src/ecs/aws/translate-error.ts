import { describeError } from '../../errors.ts';
import { EcsError } from '../ecs-error.ts';

/** @param action the IAM action, such as `ecs:ListClusters` */
export function translateError(action: string, error: unknown): EcsError {
  const { name = 'NoAnswer' } = error as Error;
  return new EcsError(`${action}: ${name}: ${describeError(error)}`, { code: name, retryable: false, cause: error });
}
