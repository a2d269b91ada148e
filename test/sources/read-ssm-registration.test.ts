import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readSsmRegistration } from '../../src/sources/external-instance.ts';

test('the file as it stands; what cannot be one is told in a line with the path', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-ssm-'));
  t.after(() => rm(dir, { recursive: true }));
  const path = join(dir, 'registration');
  const refused = (message: RegExp) => assert.rejects(readSsmRegistration(path), { name: 'SourceError', message });
  await refused(/^read the SSM registration \/.*registration: no such file: register the host with SSM, mount/);
  const text = '{"ManagedInstanceID":"mi-0123456789abcdef0","Region":"eu-west-1"}';
  await writeFile(path, text);
  assert.deepEqual(await readSsmRegistration(path), { instanceId: 'mi-0123456789abcdef0', region: 'eu-west-1' });
  // Cut off where it is still JSON, too much would pass for enough.
  await writeFile(path, text.padEnd(4_097));
  await refused(/over 4096 bytes: something else is in its place/);
  await writeFile(path, text.padEnd(4_096));
  await readSsmRegistration(path);
  await rm(path);
  execFileSync('mkfifo', [path]);
  await refused(/SSM registration/);
  await rm(path);
  await assert.rejects(readSsmRegistration(dir), {
    name: 'SourceError',
    message: /SSM registration .*: it is a directory, as docker makes/,
  });
});
