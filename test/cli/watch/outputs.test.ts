import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openOutput } from '../../../src/cli/watch/outputs.ts';
import type { CloudEvent } from '../../../src/record/cloud-event.ts';
import { testContext } from '../../support/run-in-process.ts';

test('a terminal line has the time of its event, that of the connection the time of now', async () => {
  const said = { stdout: '', stderr: '' };
  const nowMs = Date.parse('2026-01-01T12:30:00Z');
  const context = { ...testContext(said), clock: { ...testContext(said).clock, wallMs: () => nowMs } };
  const config = { handler: null, webhook: null, output: 'text' } as unknown as Parameters<typeof openOutput>[0];
  const { deliver } = await openOutput(config, context, {} as Parameters<typeof openOutput>[2]);
  const time = '2026-01-01T11:00:05Z';
  const event = { specversion: '1.0', id: 'x', source: 's', datacontenttype: 'application/json', revision: '7', time };
  await deliver([
    { ...event, type: 'rollcall.roll.synced', data: { instanceIds: ['i-00000001'] } },
    { ...event, type: 'rollcall.roll.certain', data: { returned: 1, lost: 2 } },
  ] as unknown as CloudEvent[]);
  const local = (instant: string | number) => new Date(instant).toTimeString().slice(0, 8);
  assert.equal(
    said.stdout,
    `${local(nowMs)}  connected     1 node on the roll at revision 7\n${local(time)}  certain       1 returned, 2 lost\n`,
  );
});
