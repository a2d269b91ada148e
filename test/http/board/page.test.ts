import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { boardPage } from '../../../src/http/board/page.ts';
import type { RouteRequest } from '../../../src/http/reply.ts';

const HTML = '<!doctype html><style>a{}</style><script type="module">alert(1)</script>';
const BROWSER = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8', 'accept-encoding': 'gzip, br' };

async function page(t: TestContext, { built = true } = {}) {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-board-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, 'board.html.gz');
  if (built) await writeFile(file, gzipSync(HTML));
  const handler = boardPage(file, () => ({ status: 200, contentType: 'text/plain', body: 'the paths' }));
  const ask = (headers: Record<string, string>) => {
    const request: RouteRequest = {
      ...{ method: 'GET', path: '/', params: {}, query: new URLSearchParams(), headers, port: 1 },
      signal: new AbortController().signal,
    };
    return handler(request);
  };
  return { ask, file };
}

test('a browser gets the page, compressed where it can read that, everything else the paths', async (t) => {
  const { ask } = await page(t);
  const reply = await ask(BROWSER);
  assert.equal(reply.headers?.['Content-Encoding'], 'gzip');
  assert.equal(reply.headers?.['Vary'], 'Accept, Accept-Encoding');
  assert.equal(gunzipSync(reply.body as Buffer).toString(), HTML);
  const plain = await ask({ accept: 'text/html', 'accept-encoding': 'gzip;q=0' });
  assert.equal(plain.headers?.['Content-Encoding'], undefined);
  assert.equal(String(plain.body), HTML);
  for (const accept of ['*/*', 'application/json', 'text/html;q=0', '']) {
    const text = await ask({ accept });
    assert.equal(text.body, 'the paths', accept);
    assert.equal(text.headers?.['Vary'], 'Accept, Accept-Encoding');
  }
});

test('the policy allows the script and the style of the page and nothing else', async (t) => {
  const { ask } = await page(t);
  const policy = (await ask(BROWSER)).headers?.['Content-Security-Policy'] ?? '';
  const hash = (text: string) => createHash('sha256').update(text).digest('base64');
  const rules = policy.split('; ');
  assert.ok(rules.includes("default-src 'none'"));
  assert.ok(rules.includes(`script-src 'sha256-${hash('alert(1)')}'`));
  assert.ok(rules.includes(`style-src 'sha256-${hash('a{}')}'`));
  assert.ok(rules.includes("connect-src 'self'"));
  assert.doesNotMatch(policy, /unsafe|\*|https?:/);
});

test('the file is read once, at the first browser; a missing one is a problem, until it is there', async (t) => {
  const { ask, file } = await page(t, { built: false });
  await ask({ accept: '*/*' });
  const missing = await ask(BROWSER);
  assert.equal(missing.status, 503);
  assert.match(String(missing.body), /board\.html\.gz, cannot be read/);
  await writeFile(file, gzipSync(HTML));
  assert.equal((await ask(BROWSER)).status, 200);
  await rm(file);
  assert.equal((await ask(BROWSER)).status, 200);
});
