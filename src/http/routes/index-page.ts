import type { Handler } from '../reply.ts';

/** A list of the paths, for whoever opens the port by hand. */
export function indexPage(version: () => string, paths: () => readonly string[]): Handler {
  return () => {
    const body = [`rollcall ${version()}`, '', ...paths(), ''].join('\n');
    return { status: 200, contentType: 'text/plain; charset=utf-8', body };
  };
}
