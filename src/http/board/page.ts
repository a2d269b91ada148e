import type { Handler, Reply } from '../reply.ts';
import { problem } from '../reply.ts';

/** The fleet board as `scripts/build.mjs` made it: one HTML file, compressed, with its script and style within. */
interface BoardFile {
  readonly gzipped: Buffer;
  readonly html: Buffer;
  readonly policy: string;
}

/**
 * Serves the board to browsers, and to everything else what `otherwise` answers. The page has no data: it asks for the
 * roll as any reader does. An agent that no browser asks reads no file.
 * @param path of the built page; null: this build has none
 */
export function boardPage(path: string | null, otherwise: Handler): Handler {
  if (path === null) return otherwise;
  let reading: Promise<BoardFile> | null = null;
  return async (request) => {
    const { headers } = request;
    if (!wantsValue(headers.accept, 'text/html')) return varying(await otherwise(request));
    reading ??= readBoard(path);
    try {
      const { gzipped, html, policy } = await reading;
      const plain = !wantsValue(headers['accept-encoding']?.toString(), 'gzip');
      return varying({
        status: 200,
        contentType: 'text/html; charset=utf-8',
        headers: {
          ...PAGE_HEADERS,
          'Content-Security-Policy': policy,
          ...(plain ? {} : { 'Content-Encoding': 'gzip' }),
        },
        body: plain ? html : gzipped,
      });
    } catch {
      reading = null;
      return problem(503, `the page of the board, ${path}, cannot be read`, { instance: request.path });
    }
  };
}

/** For every page of HTML: nothing else may frame it, and it tells no other host where it was. */
export const PAGE_HEADERS = {
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
} as const;

/** The policy of a page whose only script and style are within it. A browser then runs and loads nothing else. */
export async function contentPolicy(html: string): Promise<string> {
  const { createHash } = await import('node:crypto');
  const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  const within = (tag: string) => new RegExp(`<${tag}[^>]*>(.*?)</${tag}>`, 's').exec(html)?.[1];
  const [script, style] = [within('script'), within('style')];
  return [
    "default-src 'none'",
    `script-src ${script === undefined ? "'none'" : hashOf(script)}`,
    `style-src ${style === undefined ? "'none'" : hashOf(style)}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ');
}

async function readBoard(path: string): Promise<BoardFile> {
  const [{ readFile }, { gunzipSync }] = await Promise.all([import('node:fs/promises'), import('node:zlib')]);
  const gzipped = await readFile(path);
  const html = gunzipSync(gzipped);
  return { gzipped, html, policy: await contentPolicy(html.toString('utf8')) };
}

/** Whether a header names the value, and not with the quality 0. A wildcard does not count: curl sends one. */
function wantsValue(header: string | undefined, value: string): boolean {
  return (header ?? '')
    .toLowerCase()
    .split(',')
    .map((part) => part.split(';').map((each) => each.trim()))
    .some(([name, ...parameters]) => name === value && !parameters.some((each) => /^q=0(\.0*)?$/.test(each)));
}

function varying(reply: Reply): Reply {
  return { ...reply, headers: { ...reply.headers, Vary: 'Accept, Accept-Encoding' } };
}
