import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { INSTANCE_KEYS } from '../../src/simulator/ecs/ecs-control.ts';
import { ECS_FAULTS } from '../../src/simulator/ecs/ecs-server.ts';
import { IMDS_FAULTS, INTROSPECTION_FAULTS } from '../../src/simulator/simulated-node.ts';

const PAGE = await readFile(new URL('../../docs/simulator.md', import.meta.url), 'utf8');

/** The words in backquotes of the row that begins with `request`, without the request. */
function values(request: string): string[] {
  const row = PAGE.split('\n').find((line) => line.startsWith(`| \`${request}`)) ?? assert.fail(request);
  return (row.split('|')[2] ?? '').split('.')[0]?.match(/(?<=`)[A-Za-z0-9-]+(?=`)/g) ?? [];
}

for (const [request, known] of [
  ['PUT /nodes/{id}/faults` `{"imds":', IMDS_FAULTS],
  ['PUT /nodes/{id}/faults` `{"introspection":', INTROSPECTION_FAULTS],
  ['PUT /ecs/faults', ECS_FAULTS],
  ['PUT /ecs/instances/{id}', INSTANCE_KEYS],
] as const) {
  test(`docs/simulator.md names what ${request.replaceAll('`', '')} takes, and nothing else`, () => {
    assert.deepEqual([...new Set(values(request))].sort(), [...known].sort());
  });
}
