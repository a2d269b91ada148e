import fc from 'fast-check';
import { printable } from '../../src/lib/foreign-text.ts';
import { DEPARTURE_CAUSES, HEALTH_STATUSES, type NodeRecord, SCHEMA_VERSION } from '../../src/record/record.ts';

/** Records with the prototype that parsed JSON has. */
export const plain = <T>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(fields, { noNullPrototype: true });
export const text = fc.string({ unit: 'grapheme' }).map(printable);
const textOrNull = fc.option(text);
const word = fc.stringMatching(/^[a-z0-9/][\x21-\x7e]{0,20}$/);
const wordOrNull = fc.option(word);
const address = fc.option(fc.oneof(fc.ipV4(), fc.ipV6()));
const status = fc.constantFrom(...HEALTH_STATUSES);
const instanceId = fc.stringMatching(/^m?i-[0-9a-f]{8,32}$/);

// Valibot drops these three keys of a dictionary, as a guard against prototype pollution.
const label = word.filter((key) => !['__proto__', 'prototype', 'constructor'].includes(key));

/** Any record that an agent may write. */
export const anyRecord: fc.Arbitrary<NodeRecord> = plain({
  schemaVersion: fc.constant(SCHEMA_VERSION),
  ec2InstanceId: instanceId,
  containerInstanceArn: wordOrNull,
  cluster: wordOrNull,
  versionInfo: plain({ agentVersion: wordOrNull, agentHash: wordOrNull }),
  privateIpAddress: address,
  publicIpAddress: address,
  privateDnsName: fc.option(fc.domain()),
  availabilityZone: wordOrNull,
  region: wordOrNull,
  instanceType: wordOrNull,
  imageId: wordOrNull,
  accountId: wordOrNull,
  instanceLifecycle: wordOrNull,
  machineId: wordOrNull,
  labels: fc.dictionary(label, word, { noNullPrototype: true }),
  health: plain({
    status,
    since: text,
    checks: fc.array(plain({ name: text, status, reason: text, since: text }), { maxLength: 4 }),
  }),
  interruption: fc.option(plain({ kind: text, action: textOrNull, time: textOrNull })),
  departure: fc.option(plain({ cause: fc.constantFrom(...DEPARTURE_CAUSES), at: text })),
  clockSkewSeconds: fc.option(fc.integer()),
  registeredAt: text,
  sidecar: plain({ version: text, session: text }),
});
