import { DeadlineError } from '../../lib/deadline.ts';
import { describeError } from '../../lib/errors.ts';
import { EcsError } from '../errors.ts';
import { AnswerError, type EcsCall, ProfileError } from './call.ts';

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

/** What the SDK puts on its errors beside a message. */
interface SdkError {
  readonly name?: string;
  readonly message?: string;
  readonly code?: string;
  readonly $fault?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

const UNANSWERED =
  /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|EAI_|ENOTFOUND|EPROTO|CERT_|ERR_TLS|ERR_SSL|DEPTH_|SELF_|UNABLE_)/;

/** One line: the action and what it was about, AWS's code and words, and what would help. */
export function translateError(call: EcsCall, error: unknown): EcsError {
  const { code, cause, help, retryable } = explain(call, error);
  const about = [call.taskDefinition, call.cluster].filter((name) => name !== null).join(' on ');
  // What is refused is not begun; what gets no answer may be.
  const status = (error as SdkError | null)?.$metadata?.httpStatusCode ?? 0;
  const begun = call.action === 'ecs:StartTask' && (['NoAnswer', 'BadAnswer'].includes(code) || status >= 500);
  const next = begun ? 'the task may have been started all the same: look before starting it again' : help;
  const place = call.region === null ? '' : ` in ${call.region}`;
  const where = `${call.action}${about === '' ? '' : ` of ${about}`}${place}`;
  return new EcsError(`${where}: ${cause}${next === null ? '' : `; ${next}`}`, { code, retryable });
}

interface Explanation {
  readonly code: string;
  readonly cause: string;
  readonly help: string | null;
  readonly retryable: boolean;
}

function explain(call: EcsCall, error: unknown): Explanation {
  const { name = '', message = '', code = '', $fault, $metadata } = (error ?? {}) as SdkError;
  const text = firstLine(error);
  const status = $metadata?.httpStatusCode;
  const at = call.endpoint ?? 'the endpoint';
  const unanswered = (cause: string, help: string): Explanation => ({ code: 'NoAnswer', cause, help, retryable: true });
  const network = 'check the network, --region and AWS_ENDPOINT_URL_ECS';

  if (name === 'CredentialsProviderError' || name === 'TokenProviderError') return noCredentials(call, text);
  if (error instanceof ProfileError)
    return ours(
      'BadProfile',
      text,
      'check --profile and AWS_PROFILE; AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE name other files',
    );
  if (message.startsWith('Region is missing'))
    return ours('NoRegion', 'no region', 'give --region or AWS_REGION, or a region to the profile');
  if (message.startsWith('Region not accepted'))
    return ours('BadRegion', 'this is no region', 'check --region and AWS_REGION');
  // A key or token that was pasted with the end of its line.
  if (code === 'ERR_INVALID_CHAR')
    return ours(
      'BadCredentials',
      'the credentials hold a line break or another character that no request can carry',
      'check AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN and the profile',
    );
  if (code === 'ERR_INVALID_URL')
    return ours('BadEndpoint', 'the endpoint is no URL', 'check AWS_ENDPOINT_URL_ECS and AWS_ENDPOINT_URL');
  if (error instanceof DeadlineError || ['TimeoutError', 'AbortError'].includes(name) || code === 'ETIMEDOUT') {
    // A connection that was reset goes by the name of TimeoutError too.
    if (code === 'ECONNRESET' || code === 'EPIPE') return unanswered(`${at} ended the connection (${code})`, network);
    return unanswered(`no answer in time from ${at}`, network);
  }
  if (code === 'ECONNRESET' || code === 'EPIPE') return unanswered(`${at} cut its answer short (${code})`, network);
  if (code === 'ECONNREFUSED') return unanswered(`connection refused by ${at} (${code})`, network);
  if (code === 'ENOTFOUND') return unanswered(`there is no host of the name ${at} (${code})`, network);
  if (UNANSWERED.test(code)) return unanswered(`no connection to ${at}: ${text}`, network);
  if (error instanceof AnswerError || name === 'SyntaxError' || name === 'Unknown') {
    const cause = `the answer of ${at}${status ? ` (HTTP ${status})` : ''} is not ECS’s`;
    const why = error instanceof AnswerError ? `: ${text}` : '';
    const bad = ours('BadAnswer', cause + why, 'check AWS_ENDPOINT_URL_ECS and for a proxy between');
    return { ...bad, retryable: (status ?? 0) >= 500 };
  }
  const { help = () => null, retryable = false }: Partial<CodeHelp> =
    CODE_HELP.find(({ codes }) => codes.includes(name)) ?? {};
  const again = retryable || status === 429 || $fault === 'server';
  const kind = name || 'Unknown';
  return { code: kind, cause: `${kind}: ${text}`, help: help(call, text), retryable: again };
}

function noCredentials({ profile }: EcsCall, text: string): Explanation {
  const none = text.startsWith('Could not load credentials');
  // With a profile the SDK leaves the keys in the environment alone.
  const first = profile === null ? 'the environment, the profile' : 'the profile';
  const found = none ? `in ${first}, the container’s role, the instance’s role` : text;
  const from = profile === null ? '' : ` for profile ${profile}`;
  return ours(
    'NoCredentials',
    `no credentials${from}: ${none ? `looked ${found}` : found}`,
    'give --profile, AWS_ACCESS_KEY_ID or the instance a role; in a bridged container the role needs an IMDSv2 hop limit of 2, or --net=host',
  );
}

function ours(code: string, cause: string, help: string): Explanation {
  return { code, cause, help, retryable: false };
}

/** Without the SDK's advice to its programmers, which comes in lines of its own, and without a full stop. */
function firstLine(error: unknown): string {
  const [line = ''] = String((error as Error)?.message ?? '')
    .trim()
    .split('\n');
  return describeError(line).replace(/\.$/, '');
}
