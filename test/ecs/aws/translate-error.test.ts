import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AccessDeniedException,
  ClientException,
  ClusterNotFoundException,
  ECSServiceException,
  InvalidParameterException,
  ServerException,
} from '@aws-sdk/client-ecs';
import type { EcsCall } from '../../../src/ecs/aws/call.ts';
import { AnswerError, CredentialError } from '../../../src/ecs/aws/call.ts';
import { translateEcsError } from '../../../src/ecs/aws/translate-error.ts';
import { DeadlineError } from '../../../src/lib/deadline.ts';

const CALL: EcsCall = {
  action: 'ecs:ListContainerInstances',
  cluster: 'demo',
  taskDefinition: null,
  profile: null,
  region: 'us-east-1',
  endpoint: 'https://ecs.us-east-1.amazonaws.com',
  proxy: null,
};
const $metadata = { httpStatusCode: 400 };
const service = (name: string, message: string, httpStatusCode = 400) =>
  new ECSServiceException({
    name,
    message,
    $fault: httpStatusCode < 500 ? 'client' : 'server',
    $metadata: { httpStatusCode },
  });
const coded = (code: string, message: string, name = 'Error') => Object.assign(new Error(message), { code, name });

const CASES: readonly [string, unknown, Partial<EcsCall>, string, boolean, RegExp][] = [
  [
    'no credentials',
    new CredentialError('no profile "ops" in /c', 'check --profile'),
    {},
    'NoCredentials',
    false,
    /us-east-1: no profile "ops" in \/c; check --profile$/,
  ],
  [
    'a key with a line break',
    coded('ERR_INVALID_CHAR', 'Invalid character in header content ["authorization"]', 'TypeError'),
    {},
    'BadCredentials',
    false,
    /us-east-1: the credentials contain a line break .*; check AWS_ACCESS_KEY_ID, AWS_SESSION_TOKEN and the profile$/,
  ],
  [
    'no region',
    new Error('Region is missing'),
    { region: null, endpoint: null },
    'NoRegion',
    false,
    /^ecs:ListContainerInstances of demo: no region; set --region, AWS_REGION/,
  ],
  [
    'no such region',
    new Error('Region not accepted: region="us east" is not a valid hostname component.'),
    {},
    'BadRegion',
    false,
    /check --region/,
  ],
  [
    'an unknown host',
    coded('ENOTFOUND', 'getaddrinfo ENOTFOUND ecs.us-nowhere-1.amazonaws.com'),
    { region: 'us-nowhere-1', endpoint: 'https://ecs.us-nowhere-1.amazonaws.com' },
    'NoAnswer',
    true,
    /unknown host https:\/\/ecs.us-nowhere-1.amazonaws.com \(ENOTFOUND\); check the network, --region/,
  ],
  [
    'expired token',
    service('ExpiredTokenException', 'The security token included in the request is expired'),
    {},
    'ExpiredTokenException',
    false,
    /ExpiredTokenException: The security.*; renew the credentials/,
  ],
  [
    'wrong key',
    service('UnrecognizedClientException', 'The security token included in the request is invalid.'),
    {},
    'UnrecognizedClientException',
    false,
    /; check the access key/,
  ],
  [
    'wrong secret',
    service('InvalidSignatureException', 'The request signature we calculated does not match'),
    {},
    'InvalidSignatureException',
    false,
    /; check the secret access key/,
  ],
  [
    'wrong clock',
    service('InvalidSignatureException', 'Signature expired: 20200101T000000Z is now earlier than'),
    {},
    'InvalidSignatureException',
    false,
    /; correct this machine’s clock$/,
  ],
  [
    'no such cluster',
    new ClusterNotFoundException({ message: 'Cluster not found.', $metadata }),
    {},
    'ClusterNotFoundException',
    false,
    /^ecs:ListContainerInstances of demo in us-east-1: ClusterNotFoundException: Cluster not found; .*--source ecs --all-clusters/,
  ],
  [
    'denied',
    new AccessDeniedException({
      message: 'User: x is not authorized to perform: ecs:ListContainerInstances',
      $metadata,
    }),
    {},
    'AccessDeniedException',
    false,
    /; allow ecs:ListContainerInstances in IAM \(see docs\/iam\/README.md\)/,
  ],
  [
    'throttled',
    service('ThrottlingException', 'Rate exceeded'),
    {},
    'ThrottlingException',
    true,
    /ThrottlingException: Rate exceeded; AWS limits/,
  ],
  ['throttled by a proxy', service('Odd', 'Slow down', 429), {}, 'Odd', true, /Odd: Slow down$/],
  [
    'AWS is down',
    new ServerException({
      message: 'Service Unavailable. Please try again later.',
      $metadata: { httpStatusCode: 500 },
    }),
    {},
    'ServerException',
    true,
    /; the failure is in AWS/,
  ],
  ['an unknown error of ECS', service('NewException', 'Not so'), {}, 'NewException', false, /NewException: Not so$/],
  [
    'an unknown server error of ECS',
    service('NewException', 'Not so', 503),
    {},
    'NewException',
    true,
    /NewException: Not so$/,
  ],
  [
    'no such task definition',
    new ClientException({ message: 'Unable to describe task definition.', $metadata }),
    { action: 'ecs:DescribeTaskDefinition', cluster: null, taskDefinition: 'web:9' },
    'ClientException',
    false,
    /^ecs:DescribeTaskDefinition of web:9 in us-east-1: ClientException: Unable to describe task definition; use FAMILY/,
  ],
  [
    'an input that ECS refuses',
    new InvalidParameterException({ message: 'Identifier is for cluster a.', $metadata }),
    {},
    'InvalidParameterException',
    false,
    /: Identifier is for cluster a$/,
  ],
  [
    'an answer that is late',
    coded('ETIMEDOUT', '@smithy/node-http-handler - [ERROR] a request has exceeded', 'TimeoutError'),
    {},
    'NoAnswer',
    true,
    /: no answer in time from https:/,
  ],
  ['a call that is late', new DeadlineError('x', 1), {}, 'NoAnswer', true, /: no answer in time from https:/],
  [
    'a start that is late',
    new DeadlineError('x', 1),
    { action: 'ecs:StartTask', taskDefinition: 'web' },
    'NoAnswer',
    true,
    /^ecs:StartTask of web on demo in us-east-1: .*the task may have started; check/,
  ],
  [
    'a start that is refused',
    service('ThrottlingException', 'Rate exceeded'),
    { action: 'ecs:StartTask' },
    'ThrottlingException',
    true,
    /; AWS limits/,
  ],
  [
    'a connection that ends',
    coded('ECONNRESET', 'socket hang up', 'TimeoutError'),
    {},
    'NoAnswer',
    true,
    /closed the connection \(ECONNRESET\)/,
  ],
  [
    'a refused connection',
    coded('ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:1'),
    {},
    'NoAnswer',
    true,
    /connection refused by https:.*\(ECONNREFUSED\)/,
  ],
  [
    'an endpoint without TLS',
    coded('EPROTO', 'write EPROTO wrong version number'),
    {},
    'NoAnswer',
    true,
    /no connection to https:.*: write EPROTO wrong/,
  ],
  [
    'StartTask while the service is unavailable',
    service('ServiceUnavailableException', 'Service Unavailable', 503),
    { action: 'ecs:StartTask', taskDefinition: 'web' },
    'ServiceUnavailableException',
    true,
    /the task may have started; check/,
  ],
  [
    'an untrusted certificate',
    coded('DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate'),
    {},
    'NoAnswer',
    true,
    /: self-signed certificate/,
  ],
  [
    'an HTML page',
    Object.assign(new SyntaxError('Unexpected token <\n  Deserialization error'), {
      $metadata: { httpStatusCode: 200 },
    }),
    {},
    'BadAnswer',
    false,
    /\(HTTP 200\) is not from ECS; check AWS_ENDPOINT_URL_ECS/,
  ],
  [
    'an HTML page from a gateway',
    Object.assign(new SyntaxError('Unexpected token <'), { $metadata: { httpStatusCode: 502 } }),
    {},
    'BadAnswer',
    true,
    /\(HTTP 502\) is not from ECS/,
  ],
  [
    'an answer without a type',
    service('Unknown', 'UnknownError', 404),
    {},
    'BadAnswer',
    false,
    /\(HTTP 404\) is not from ECS/,
  ],
  [
    'an answer without content',
    new AnswerError('it has no list of tasks'),
    {},
    'BadAnswer',
    false,
    /is not from ECS: it has no list of tasks/,
  ],
  [
    'an invalid endpoint',
    coded('ERR_INVALID_URL', 'Invalid URL'),
    { endpoint: null },
    'BadEndpoint',
    false,
    /not a URL; check AWS_ENDPOINT_URL_ECS/,
  ],
  ['any other error', new Error('odd\nwith lines'), {}, 'Error', false, /: odd$/],
  [
    'a thrown value that is not an error',
    undefined,
    {},
    'Unknown',
    false,
    /^ecs:ListContainerInstances of demo in us-east-1: /,
  ],
];

for (const [what, error, call, code, retryable, pattern] of CASES) {
  test(what, () => {
    const translated = translateEcsError({ ...CALL, ...call }, error);
    assert.match(translated.message, pattern);
    assert.deepEqual([translated.code, translated.retryable], [code, retryable]);
    assert.doesNotMatch(translated.message, /\n|\.$/, 'one line without a full stop');
    assert.equal(translated.cause, undefined, 'the SDK’s error is not printed after it');
  });
}
