import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SIMULATED_KEY, verifySignature } from '../../../src/simulator/ecs/signature.ts';

// Valid signatures come from the SDK: see ecs-endpoint.test.ts.
const refuse = (authorization: string | undefined) => () =>
  verifySignature({ method: 'POST', path: '/', headers: { authorization }, body: '{}' });

const header = (keyId: string, service: string) =>
  `AWS4-HMAC-SHA256 Credential=${keyId}/20261122/us-east-1/${service}/aws4_request, SignedHeaders=host, Signature=${'0'.repeat(64)}`;

test('a request without a signature, with an unknown key or for another service is refused like in AWS', () => {
  assert.throws(refuse(undefined), { code: 'MissingAuthenticationTokenException' });
  assert.throws(refuse('Basic eA=='), { code: 'IncompleteSignatureException' });
  assert.throws(refuse(header('AKIAIOSFODNN7EXAMPLE', 'ecs')), { code: 'UnrecognizedClientException' });
  assert.throws(refuse(header(SIMULATED_KEY.accessKeyId, 'ec2')), { code: 'InvalidSignatureException' });
  assert.throws(refuse(header(SIMULATED_KEY.accessKeyId, 'ecs')), { code: 'InvalidSignatureException' });
});
