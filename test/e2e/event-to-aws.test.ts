import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const EXAMPLE = fileURLToPath(new URL('../../examples/event-to-aws', import.meta.url));
const EVENT = { id: '7/i-1/lost', type: 'rollcall.instance.lost', time: '2026-01-01T00:00:00Z', data: { a: 'b "c"' } };

/** Runs the example beside a stand-in for the aws CLI that notes its arguments and prints `answer`. */
async function publish(t: TestContext, env: Record<string, string>, answer: string) {
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-aws-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const standIn = '#!/bin/sh\nprintf "%s\\n" "$@" >"$(dirname "$0")/asked"\ncat "$(dirname "$0")/answer"\n';
  await writeFile(join(folder, 'aws'), standIn, { mode: 0o755 });
  await writeFile(join(folder, 'answer'), answer);
  const code = await new Promise<number>((resolve) => {
    const child = execFile(EXAMPLE, [], { env: { PATH: `${folder}:${process.env['PATH']}`, ...env } }, (error) =>
      resolve(error ? Number(error.code) : 0),
    );
    child.stdin?.end(`${JSON.stringify(EVENT)}\n`);
  });
  const asked = (await readFile(join(folder, 'asked'), 'utf8').catch(() => '')).trimEnd().split('\n');
  return { code, asked };
}

test('the example publishes an event to SNS, with its type as an attribute', async (t) => {
  const { code, asked } = await publish(t, { TOPIC_ARN: 'arn:aws:sns:us-east-1:123456789012:nodes' }, '');
  assert.equal(code, 0);
  assert.deepEqual(asked.slice(0, 4), ['sns', 'publish', '--topic-arn', 'arn:aws:sns:us-east-1:123456789012:nodes']);
  assert.deepEqual(JSON.parse(asked[5] ?? ''), EVENT);
  assert.deepEqual(JSON.parse(asked[7] ?? ''), { type: { DataType: 'String', StringValue: EVENT.type } });
});

test('the example puts an event on a bus, and fails where the bus does not take it', async (t) => {
  const { code, asked } = await publish(t, { EVENT_BUS: 'default' }, '{"FailedEntryCount": 0}');
  assert.equal(code, 0);
  const [entry] = JSON.parse(asked[3] ?? '');
  assert.deepEqual(
    { ...entry, Detail: JSON.parse(entry.Detail) },
    { EventBusName: 'default', Source: 'rollcall', DetailType: EVENT.type, Time: EVENT.time, Detail: EVENT },
  );
  assert.equal((await publish(t, { EVENT_BUS: 'default' }, '{"FailedEntryCount": 1}')).code, 1);
});
