import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { AwsError } from './operations.ts';

/** The only key that the simulated ECS accepts. It is not a real key. */
export const SIMULATED_KEY = { accessKeyId: 'AKIAROLLCALLSIMULATE', secretAccessKey: 'simulated' } as const;

export interface SignedRequest {
  readonly method: string;
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^/,]+)\/(\d{8})\/([a-z0-9-]+)\/([a-z0-9-]+)\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/;

/**
 * Checks a Signature Version 4 of a JSON protocol: one path, no query.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
 * @returns the region of the signature @throws AwsError with AWS's code
 */
export function verifySignature(request: SignedRequest): string {
  const { authorization } = request.headers;
  if (typeof authorization !== 'string')
    throw new AwsError('MissingAuthenticationTokenException', 'Missing Authentication Token');
  const [, keyId = '', day = '', region = '', service = '', signed = '', signature = ''] =
    AUTHORIZATION.exec(authorization) ?? [];
  if (signature === '')
    throw new AwsError('IncompleteSignatureException', 'Authorization header is no AWS4-HMAC-SHA256 signature.');
  if (keyId !== SIMULATED_KEY.accessKeyId)
    throw new AwsError('UnrecognizedClientException', 'The security token included in the request is invalid.');
  if (service !== 'ecs')
    throw new AwsError('InvalidSignatureException', "Credential should be scoped to correct service: 'ecs'.");
  const scope = `${day}/${region}/${service}/aws4_request`;
  const expected = sign(request, scope, signed);
  if (!timingSafeEqual(Buffer.from(expected), Buffer.from(signature))) {
    const advice =
      'Check your AWS Secret Access Key and signing method. Consult the service documentation for details.';
    throw new AwsError(
      'InvalidSignatureException',
      `The request signature we calculated does not match the signature you provided. ${advice}`,
    );
  }
  return region;
}

function sign({ method, path, headers, body }: SignedRequest, scope: string, signed: string): string {
  const value = (name: string) =>
    String(headers[name] ?? '')
      .trim()
      .replace(/ +/g, ' ');
  const lines = signed.split(';').map((name) => `${name}:${value(name)}\n`);
  const canonical = [method, path, '', lines.join(''), signed, sha256(body)].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', value('x-amz-date'), scope, sha256(canonical)].join('\n');
  const secret = `AWS4${SIMULATED_KEY.secretAccessKey}`;
  const key = scope.split('/').reduce<string | Buffer>((last, part) => hmac(last, part).digest(), secret);
  return hmac(key, toSign).digest('hex');
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hmac(key: string | Buffer, text: string) {
  return createHmac('sha256', key).update(text);
}
