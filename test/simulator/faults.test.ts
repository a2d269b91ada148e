import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IMDS_FAULTS, INTROSPECTION_FAULTS, parseFaults } from '../../src/simulator/node.ts';

test('each fault is read for its server, and a server that is not named is left out', () => {
  for (const imds of IMDS_FAULTS) assert.deepEqual(parseFaults({ imds }), { imds });
  for (const introspection of INTROSPECTION_FAULTS) assert.deepEqual(parseFaults({ introspection }), { introspection });
  assert.deepEqual(parseFaults({}), {});
});

test('an unknown fault is an error that names the allowed ones', () => {
  assert.throws(() => parseFaults({ imds: 'null-arn' }), {
    name: 'UsageError',
    message: `imds fault "null-arn": unknown; use one of ${IMDS_FAULTS.join(', ')}`,
  });
  assert.throws(() => parseFaults({ introspection: 42 }), {
    message: `introspection fault 42: unknown; use one of ${INTROSPECTION_FAULTS.join(', ')}`,
  });
});

test('an unknown server, and a body that is no object, are errors', () => {
  assert.throws(() => parseFaults({ etcd: 'hang' }), {
    message: 'faults: unknown key "etcd"; use any of imds, introspection',
  });
  for (const value of [null, [], 'hang', 42]) assert.throws(() => parseFaults(value), { name: 'UsageError' });
});
