import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSsmRegistration } from '../../src/sources/external-instance.ts';

const parse = (text: string) => parseSsmRegistration('/r', text);

test('what SSM’s agent writes, with and without a region', () => {
  assert.deepEqual(parse('{"ManagedInstanceID":"mi-0123456789abcdef0","Region":"us-east-1"}'), {
    instanceId: 'mi-0123456789abcdef0',
    region: 'us-east-1',
  });
  assert.deepEqual(parse(' {"ManagedInstanceID":"mi-0123456789abcdef0","More":[]}\n'), {
    instanceId: 'mi-0123456789abcdef0',
    region: null,
  });
});

test('anything else is refused, and said to be what it is', () => {
  const wrong: Record<string, RegExp> = {
    '': /SSM registration \/r: expected a JSON object, got ""/,
    '{"ManagedInstanceID":"mi-0123': /expected a JSON object/,
    '<html><body>502 Bad Gateway</body></html>': /expected a JSON object, got "<html>/,
    '["mi-0123456789abcdef0"]': /expected a JSON object/,
    '{}': /ManagedInstanceID: expected mi-… and 17 hex digits, got "none"/,
    '{"ManagedInstanceID":null}': /ManagedInstanceID: .* got "null"/,
    '{"ManagedInstanceID":17}': /ManagedInstanceID: .* got "17"/,
    '{"ManagedInstanceID":"mi-0123"}': /ManagedInstanceID: /,
    '{"ManagedInstanceID":"mi-0123456789ABCDEF0"}': /ManagedInstanceID: /,
    '{"ManagedInstanceID":"mi-0123456789abcdef0/../x"}': /ManagedInstanceID: /,
    '{"ManagedInstanceID":"i-0123456789abcdef0","Region":"us-east-1"}':
      /it is of the EC2 instance i-0123456789abcdef0: run with --identity ec2/,
    '{"ManagedInstanceID":"mi-0123456789abcdef0","Region":7}': /Region: expected a region, got "7"/,
    '{"ManagedInstanceID":"mi-0123456789abcdef0","Region":""}': /Region: expected a region/,
    '{"ManagedInstanceID":"mi-0123456789abcdef0","Region":"us east"}': /Region: expected a region/,
  };
  for (const [text, message] of Object.entries(wrong)) {
    assert.throws(() => parse(text), { name: 'SourceError', message }, text);
  }
});
