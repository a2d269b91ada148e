import type { EcsCall } from './ecs-call.ts';

/** What would help where AWS answers with one of these error codes. */
export interface CodeHelp {
  readonly codes: readonly string[];
  /** @param text what AWS said; null: nothing to add to it */
  readonly help: (call: EcsCall, text: string) => string | null;
  /** True where the same call may succeed later without anybody changing anything. */
  readonly retryable?: boolean;
}

/**
 * https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html and the errors of each action.
 * What is not among them is shown as AWS says it.
 */
export const CODE_HELP: readonly CodeHelp[] = [
  {
    codes: ['AccessDeniedException', 'AccessDenied', 'NotAuthorized', 'OptInRequired', 'UnauthorizedOperation'],
    help: ({ action }) => `allow ${action} in IAM as docs/iam/README.md shows, or give another --profile`,
  },
  {
    codes: ['ExpiredTokenException', 'ExpiredToken'],
    help: () => 'renew the credentials: log in again, or take an old AWS_SESSION_TOKEN out of the environment',
  },
  {
    codes: ['RequestExpired', 'RequestTimeTooSkewed', 'RequestInTheFuture'],
    help: () => 'set this machine’s clock',
  },
  {
    codes: ['InvalidSignatureException', 'SignatureDoesNotMatch'],
    help: (_, text) => (/expired|not yet/i.test(text) ? 'set this machine’s clock' : 'check the secret access key'),
  },
  {
    codes: ['UnrecognizedClientException', 'InvalidClientTokenId', 'MissingAuthenticationToken', 'IncompleteSignature'],
    help: () => 'check the access key, the session token and that --region is one of this account',
  },
  {
    codes: ['ClusterNotFoundException'],
    help: () => 'check --cluster and --region; rollcall list --source ecs --all-clusters shows those there are',
  },
  {
    codes: [
      'ThrottlingException',
      'Throttling',
      'TooManyRequestsException',
      'RequestLimitExceeded',
      'RequestThrottled',
    ],
    help: () => 'AWS limits requests for the whole account and region; wait, or ask less often',
    retryable: true,
  },
  {
    codes: ['ServerException', 'InternalFailure', 'InternalError', 'ServiceUnavailable', 'ServiceUnavailableException'],
    help: () => 'this is AWS’s own; wait and try again',
    retryable: true,
  },
  {
    codes: ['ClientException', 'InvalidParameterException'],
    help: ({ taskDefinition }, text) =>
      taskDefinition !== null && /task ?definition/i.test(text)
        ? 'give FAMILY, FAMILY:REVISION or the ARN of a task definition that is ACTIVE in this region'
        : null,
  },
];
