import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createJsonLog } from '../../src/lib/log.ts';

test('a line is one JSON object: level, time, the fields of every line, its own, and the message', () => {
  const lines: string[] = [];
  const write = (line: string) => lines.push(line);
  let instanceId = 'i-1';
  const always = () => ({ instanceId });
  const log = createJsonLog({ isLogged: () => true, wallMs: () => 0, write, always });
  log.info({ ttlSeconds: 30, instanceId: 'i-own' }, 'registered');
  instanceId = 'i-2';
  log.warn('two\nlines and a "quote"');
  assert.deepEqual(lines, [
    '{"level":"info","time":"1970-01-01T00:00:00.000Z","instanceId":"i-own","ttlSeconds":30,"msg":"registered"}\n',
    '{"level":"warn","time":"1970-01-01T00:00:00.000Z","instanceId":"i-2","msg":"two\\nlines and a \\"quote\\""}\n',
  ]);
});

test('each line has the priority of its severity, and those that are not wanted are not written', () => {
  const lines: string[] = [];
  const write = (line: string) => lines.push(line);
  const log = createJsonLog({ isLogged: (each) => each !== 'debug', wallMs: () => 0, write, priorities: true });
  for (const severity of ['debug', 'info', 'warn', 'error'] as const) log[severity](severity);
  assert.deepEqual(
    lines.map((line) => [line.slice(0, 3), JSON.parse(line.slice(3)).msg]),
    [
      ['<6>', 'info'],
      ['<4>', 'warn'],
      ['<3>', 'error'],
    ],
  );
});
