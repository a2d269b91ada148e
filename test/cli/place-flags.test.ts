import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { constraints, type PlaceFlags, taskNeeds } from '../../src/cli/place-flags.ts';
import { hostPorts } from '../../src/config/flags.ts';

describe('parse constraint', () => {
  test('a constraint is a name, == or !=, and a value; spaces around each are ignored', () => {
    const role = { name: 'role', operator: '==', value: 'node' } as const;
    assert.deepEqual(constraints('role==node'), [role]);
    assert.deepEqual(constraints(' role  ==  node '), [role]);
    assert.deepEqual(constraints('az!=us-east-1a,role==node'), [
      { name: 'az', operator: '!=', value: 'us-east-1a' },
      role,
    ]);
    assert.deepEqual(constraints('role==node', [role]), [role, role]);
    assert.deepEqual(constraints('attribute:ecs.os-type==linux'), [
      { name: 'attribute:ecs.os-type', operator: '==', value: 'linux' },
    ]);
    assert.deepEqual(constraints('team/tier==a b:c@d'), [{ name: 'team/tier', operator: '==', value: 'a b:c@d' }]);
  });

  test('other text is refused with the position of the error, counted from 1', () => {
    const wrong: Record<string, RegExp> = {
      '': /^Position 1: expected the name/,
      '==node': /^Position 1: expected the name/,
      'role=node': /^Position 5: expected == or !=/,
      role: /^Position 5: expected == or !=/,
      'role===node': /^Position 7: expected a value/,
      'role==': /^Position 7: expected a value/,
      'role== ': /^Position 7: expected a value/,
      'role==a"b': /^Position 7: expected a value/,
      'role =~ node': /^Position 6: expected == or !=/,
      'role==node,az=b': /^Position 14: expected == or !=/,
      'role==node,': /^Position 12: expected the name/,
      'other:x==1': /^Position 6: expected == or !=/,
      'attribute:==1': /^Position 10: expected == or !=/,
      [`role==${'x'.repeat(129)}`]: /^Position 7: expected a value/,
    };
    for (const [text, message] of Object.entries(wrong)) {
      assert.throws(() => constraints(text), { code: 'commander.invalidArgument', message }, text);
    }
  });
});

describe('place options', () => {
  const FLAGS: PlaceFlags = { strategy: 'binpack', constraint: [], count: 1, why: false, output: 'text' };

  test('ports are TCP by default, each once', () => {
    assert.deepEqual(hostPorts('8080'), { tcp: [8_080], udp: [] });
    assert.deepEqual(hostPorts('8080, 9090/udp,8080/tcp,53/udp'), { tcp: [8_080], udp: [9_090, 53] });
    assert.deepEqual(hostPorts('443', { tcp: [80], udp: [53] }), { tcp: [80, 443], udp: [53] });
    for (const text of ['', '0', '65536', '80/sctp', '80-90', '-1', '80,,90', '1e3']) {
      assert.throws(() => hostPorts(text), /is not PORT or PORT\/udp/, text);
    }
  });

  test('the needs of a task definition are the minimum; flags add to them', () => {
    const defined = { cpuUnits: 256, memoryMiB: 512, ports: [80], portsUdp: [] };
    assert.deepEqual(taskNeeds(FLAGS, defined), defined);
    assert.deepEqual(taskNeeds({ ...FLAGS, cpu: 0, memory: 64, ports: { tcp: [80, 81], udp: [53] } }, defined), {
      ...defined,
      ports: [80, 81],
      portsUdp: [53],
    });
    assert.deepEqual(taskNeeds({ ...FLAGS, cpu: 300 }, defined), { ...defined, cpuUnits: 300 });
    assert.deepEqual(taskNeeds({ ...FLAGS, memory: 600 }, defined), { ...defined, memoryMiB: 600 });
  });

  test('without a task definition --cpu and --memory are required', () => {
    assert.throws(() => taskNeeds(FLAGS, null), { exitCode: 2, message: /^--cpu is missing: / });
    assert.throws(() => taskNeeds({ ...FLAGS, cpu: 1 }, null), { exitCode: 2, message: /^--memory is missing: / });
  });
});
