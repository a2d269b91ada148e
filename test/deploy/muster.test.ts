import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Machine } from '../../scripts/lib/machine.ts';
import { muster } from '../../scripts/lib/muster.ts';
import type { RollNode } from '../../scripts/lib/roll-node.ts';
import { sampleNode } from './sample-node.ts';

const MACHINE: Machine = { id: 'a'.repeat(32), address: '10.113.0.23' };
const NONE = new Set<string>();

/** Why the one machine has not answered; null when it has. */
function missing(nodes: readonly RollNode[], old: ReadonlySet<string> = NONE, machine = MACHINE): string | null {
  const state = muster([machine], nodes, old);
  assert.equal(state.answered.length + state.missing.length, 1);
  return state.missing[0]?.reason ?? null;
}

test('a present node with the machine’s id counts, with any address', () => {
  assert.equal(missing([sampleNode()]), null);
  assert.equal(missing([sampleNode({ privateIpAddress: '10.0.0.9' })]), null);
  assert.equal(missing([sampleNode()], NONE, { ...MACHINE, address: null }), null);
});

test('a present node with the same address and another machine id does not count, and is in the reason', () => {
  const other = { machineId: 'b'.repeat(32) };
  assert.match(missing([sampleNode(other)]) ?? '', /i-12345678 answers from its address, but as machine b{32}$/);
  assert.match(missing([sampleNode({ ...other, presence: { state: 'lost' } })]) ?? '', /never answered/);
});

test('an agent without a machine id counts by its private or public address', () => {
  assert.equal(missing([sampleNode({ machineId: null })]), null);
  const elsewhere = { machineId: null, privateIpAddress: '10.0.0.9' };
  assert.equal(missing([sampleNode({ ...elsewhere, publicIpAddress: '10.113.0.23' })]), null);
  assert.match(missing([sampleNode(elsewhere)]) ?? '', /never answered/);
  assert.match(missing([sampleNode({ machineId: null })], NONE, { ...MACHINE, address: null }) ?? '', /never answered/);
});

test('an agent from before the deployment does not count; its successor does', () => {
  const old = sampleNode({ sidecar: { session: 'old' } });
  assert.match(
    missing([old], new Set(['old'])) ?? '',
    /i-12345678 still answers through an agent from before the unit was deployed/,
  );
  assert.equal(missing([sampleNode()], new Set(['old'])), null);
});

test('the reason for a missing machine has what is known of it', () => {
  assert.match(missing([]) ?? '', /^it never answered at this store$/);
  assert.match(missing([sampleNode({ presence: { state: 'lost' } })]) ?? '', /i-12345678 is lost/);
  const departed = sampleNode({
    presence: { state: 'departed' },
    departure: { at: '2026-11-22T10:00:00Z', cause: 'stopped' },
  });
  assert.match(missing([departed]) ?? '', /departed \(stopped\) at 2026-11-22T10:00:00Z/);
});

test('nodes that are not machines of the fleet do not count', () => {
  const state = muster([MACHINE], [sampleNode(), sampleNode({ machineId: 'c'.repeat(32) })], NONE);
  assert.equal(state.answered.length, 1);
});
