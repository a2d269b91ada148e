import assert from 'node:assert/strict';
import { test } from 'node:test';
import { machineName, parseMachines } from '../../scripts/lib/machine.ts';
import { unitStates } from '../../scripts/lib/unit-states.ts';

test('machines are read from fleetctl’s padded columns, with and without an address', () => {
  const machines = parseMachines('aa\t\t10.0.0.1\nbb\t-\n');
  assert.deepEqual(machines, [
    { id: 'aa', address: '10.0.0.1' },
    { id: 'bb', address: null },
  ]);
  assert.deepEqual(machines.map(machineName), ['10.0.0.1 (machine aa)', 'machine bb']);
});

test('the states of the given units are grouped by machine', () => {
  const text = [
    'rollcall.service\taa/10.0.0.1\tfailed\t\tfailed',
    'other.service\t\taa/10.0.0.1\tactive\t\trunning',
    'amazon-ecs-agent.service\taa/10.0.0.1\tactive\t\trunning',
    'rollcall.service\tbb\t\tactive\t\trunning',
  ].join('\n');
  const states = unitStates(text, ['rollcall.service', 'amazon-ecs-agent.service']);
  assert.equal(states.get('aa'), 'rollcall.service failed/failed, amazon-ecs-agent.service active/running');
  assert.equal(states.get('bb'), 'rollcall.service active/running');
  assert.equal(states.get('cc'), undefined);
});
