import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createJsonLog, writeWhole } from '../../src/lib/log.ts';

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

test('a line is written whole through a pipe that takes a part and is full now and then', () => {
  let taken = Buffer.alloc(0);
  let calls = 0;
  const write = (_fd: number, bytes: Uint8Array, offset: number) => {
    calls += 1;
    if (calls === 2) throw Object.assign(new Error('full'), { code: 'EAGAIN' });
    const part = bytes.subarray(offset, offset + 5);
    taken = Buffer.concat([taken, part]);
    return part.length;
  };
  writeWhole(2, 'Gänse am Fluß\n', write as Parameters<typeof writeWhole>[2]);
  assert.equal(taken.toString(), 'Gänse am Fluß\n');
});

test('what nothing reads any more is dropped', () => {
  let calls = 0;
  writeWhole(2, 'line\n', (() => {
    calls += 1;
    throw Object.assign(new Error('closed'), { code: 'EPIPE' });
  }) as Parameters<typeof writeWhole>[2]);
  assert.equal(calls, 1);
});
