import { EcsError } from '../../ecs/ecs-error.ts';
import { isThrottled } from '../../ecs/is-throttled.ts';
import { StoreError } from '../../store/store-error.ts';
import { DeadlineError } from '../../timing/with-deadline.ts';

/** Why an audit came to no result, for a metric: each of AWS's many error codes is one of these. */
export const AUDIT_FAILURES = ['store', 'denied', 'credentials', 'throttled', 'ecs', 'late', 'other'] as const;
export type AuditFailure = (typeof AUDIT_FAILURES)[number];

/** The common errors of every AWS service: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html */
const CREDENTIALS =
  /^(NoCredentials|BadProfile|ExpiredToken|UnrecognizedClient|InvalidSignature|InvalidClientTokenId|MissingAuth|IncompleteSignature)/;

export function auditFailure(error: unknown): AuditFailure {
  if (error instanceof StoreError) return 'store';
  if (error instanceof DeadlineError) return 'late';
  if (!(error instanceof EcsError)) return 'other';
  if (/^AccessDenied|^NotAuthorized/.test(error.code)) return 'denied';
  if (CREDENTIALS.test(error.code)) return 'credentials';
  return isThrottled(error) ? 'throttled' : 'ecs';
}
