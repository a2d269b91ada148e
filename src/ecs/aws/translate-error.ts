import { DeadlineError } from '../../lib/deadline.ts';
import { firstLine } from '../../lib/errors.ts';
import { EcsError } from '../ecs-errors.ts';
import { AnswerError, CredentialError, type EcsCall } from './call.ts';

/** The next step for some of AWS's error codes. */
interface CodeHelp {
  readonly codes: readonly string[];
  /** @param text AWS's message @returns null: no advice */
  readonly help: (call: EcsCall, text: string) => string | null;
  /** True if the same call may succeed later without any change by the user. */
  readonly retryable?: boolean;
}

/**
 * https://docs.aws.amazon.com/AmazonECS/latest/APIReference/CommonErrors.html and the errors of each action.
 * The message of any other code is shown without advice.
 */
const CODE_HELP: readonly CodeHelp[] = [
  {
    codes: ['AccessDeniedException', 'AccessDenied', 'NotAuthorized', 'OptInRequired', 'UnauthorizedOperation'],
    help: ({ action }) => `allow ${action} in IAM (see docs/iam/README.md), or set another --profile`,
  },
  {
    codes: ['ExpiredTokenException', 'ExpiredToken'],
    help: () => 'renew the credentials: log in again, or remove an old AWS_SESSION_TOKEN from the environment',
  },
  {
    codes: ['RequestExpired', 'RequestTimeTooSkewed', 'RequestInTheFuture'],
    help: () => 'correct this machine’s clock',
  },
  {
    codes: ['InvalidSignatureException', 'SignatureDoesNotMatch'],
    help: (_, text) => (/expired|not yet/i.test(text) ? 'correct this machine’s clock' : 'check the secret access key'),
  },
  {
    codes: ['UnrecognizedClientException', 'InvalidClientTokenId', 'MissingAuthenticationToken', 'IncompleteSignature'],
    help: () => 'check the access key, the session token and that --region is enabled for the account',
  },
  {
    codes: ['ClusterNotFoundException'],
    help: () => 'check --cluster and --region; rollcall list --source ecs --all-clusters shows all clusters',
  },
  {
    codes: [
      'ThrottlingException',
      'Throttling',
      'TooManyRequestsException',
      'RequestLimitExceeded',
      'RequestThrottled',
    ],
    help: () => 'AWS limits the requests of an account in a region; wait, or send fewer requests',
    retryable: true,
  },
  {
    codes: ['ServerException', 'InternalFailure', 'InternalError', 'ServiceUnavailable', 'ServiceUnavailableException'],
    help: () => 'the failure is in AWS; wait and try again',
    retryable: true,
  },
  {
    codes: ['ClientException', 'InvalidParameterException'],
    help: ({ taskDefinition }, text) =>
      taskDefinition !== null && /task ?definition/i.test(text)
        ? 'use FAMILY, FAMILY:REVISION or the ARN of a task definition that is ACTIVE in this region'
        : null,
  },
];

/** The fields of the SDK's errors. */
interface SdkError {
  readonly name?: string;
  readonly message?: string;
  readonly code?: string;
  readonly $fault?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

const UNTRUSTED = /^(CERT_|SELF_|DEPTH_|UNABLE_)/;
const TRUST = 'name its authority in AWS_CA_BUNDLE, and check AWS_ENDPOINT_URL_ECS and this machine’s clock';
const UNANSWERED = /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|EAI_|ENOTFOUND|EPROTO|ERR_TLS|ERR_SSL)/;

/** One line: the action, its object, AWS's code and message, and the next step. */
export function translateEcsError(call: EcsCall, error: unknown): EcsError {
  const { code, cause, help, retryable } = findCause(call, error);
  const about = [call.taskDefinition, call.cluster].filter((name) => name !== null).join(' on ');
  // A refused request started no task. A request without an answer may have.
  const status = (error as SdkError | null)?.$metadata?.httpStatusCode ?? 0;
  const begun = call.action === 'ecs:StartTask' && (['NoAnswer', 'BadAnswer'].includes(code) || status >= 500);
  const next = begun ? 'the task may have started; check with aws ecs list-tasks before you start it again' : help;
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

function findCause(call: EcsCall, error: unknown): Explanation {
  const { name = '', message = '', code = '', $fault, $metadata } = (error ?? {}) as SdkError;
  const text = firstLine(error) || 'unknown error';
  const status = $metadata?.httpStatusCode;
  const at = call.endpoint ?? 'the endpoint';
  const unanswered = (cause: string, help: string): Explanation => ({ code: 'NoAnswer', cause, help, retryable: true });
  const asked = 'check the network, --region and AWS_ENDPOINT_URL_ECS';
  const network = call.proxy === null ? asked : `${asked}, and the proxy ${call.proxy}`;

  if (error instanceof CredentialError) {
    return { ...localError('NoCredentials', text, error.help), retryable: error.retryable };
  }
  if (message.startsWith('Region is missing'))
    return localError('NoRegion', 'no region', 'set --region, AWS_REGION or the profile’s region');
  if (message.startsWith('Region not accepted'))
    return localError('BadRegion', 'invalid region', 'check --region and AWS_REGION');
  // For example a key that was pasted with its line break.
  if (code === 'ERR_INVALID_CHAR')
    return localError(
      'BadCredentials',
      'the credentials contain a line break or another character that HTTP does not allow',
      'check AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN and the profile',
    );
  if (code === 'ERR_INVALID_URL')
    return localError('BadEndpoint', 'the endpoint is not a URL', 'check AWS_ENDPOINT_URL_ECS and AWS_ENDPOINT_URL');
  if (error instanceof DeadlineError || ['TimeoutError', 'AbortError'].includes(name) || code === 'ETIMEDOUT') {
    // The SDK reports a reset connection as a TimeoutError too.
    if (code === 'ECONNRESET' || code === 'EPIPE') return unanswered(`${at} closed the connection (${code})`, network);
    return unanswered(`no answer in time from ${at}`, network);
  }
  if (code === 'ERR_PROXY_TUNNEL') {
    return unanswered(
      `the proxy opens no connection to ${at} (${text})`,
      `check the proxy ${call.proxy}, or name ${hostOf(at)} in NO_PROXY`,
    );
  }
  if (code === 'ECONNRESET' || code === 'EPIPE')
    return unanswered(`${at} closed the connection before the end of its answer (${code})`, network);
  const way = call.proxy === null ? at : `${at}, or the proxy on the way`;
  if (code === 'ECONNREFUSED') return unanswered(`connection refused by ${way} (${code})`, network);
  if (code === 'ENOTFOUND') return unanswered(`unknown host ${way} (${code})`, network);
  if (UNTRUSTED.test(code)) {
    // Node's own words give advice for Node programs behind a semicolon.
    return unanswered(`the certificate of ${way} is not trusted: ${text.split(';')[0]} (${code})`, TRUST);
  }
  if (UNANSWERED.test(code)) return unanswered(`no connection to ${at}: ${text}`, network);
  if (error instanceof AnswerError || name === 'SyntaxError' || name === 'Unknown') {
    const cause = `the answer of ${at}${status ? ` (HTTP ${status})` : ''} is not from ECS`;
    const why = error instanceof AnswerError ? `: ${text}` : '';
    const bad = localError(
      'BadAnswer',
      cause + why,
      `check AWS_ENDPOINT_URL_ECS, and whether ${call.proxy === null ? 'a proxy' : `the proxy ${call.proxy}`} answers`,
    );
    return { ...bad, retryable: (status ?? 0) >= 500 };
  }
  const { help = () => null, retryable = false }: Partial<CodeHelp> =
    CODE_HELP.find(({ codes }) => codes.includes(name)) ?? {};
  const again = retryable || status === 429 || $fault === 'server';
  const kind = name || 'Unknown';
  return { code: kind, cause: `${kind}: ${text}`, help: help(call, text), retryable: again };
}

function hostOf(endpoint: string): string {
  return URL.parse(endpoint)?.hostname ?? endpoint;
}

function localError(code: string, cause: string, help: string): Explanation {
  return { code, cause, help, retryable: false };
}
