import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const README_MAX_LINES = 250;
const DOCS = readdirSync(`${ROOT}/docs`, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length));
const AT_THE_TOP = readdirSync(ROOT).filter((name) => name.endsWith('.md'));
const PAGES = [...AT_THE_TOP, ...DOCS.filter((path) => path.endsWith('.md'))];
const TEXTS: ReadonlyMap<string, string> = new Map(
  PAGES.map((path) => [path, readFileSync(`${ROOT}/${path}`, 'utf8')]),
);

interface Link {
  /** From the root of the repository. */
  readonly path: string;
  /** '' for the page as a whole. */
  readonly anchor: string;
}

/** The text without what is shown as code, where a bracket is no link and a # no heading. */
function prose(text: string): string {
  return text
    .replaceAll(/^(`{3,}).*?^\1$/gms, '')
    .replaceAll(/^ {4}.*$/gm, '')
    .replaceAll(/`[^`\n]*`/g, 'code');
}

/** Links to files of the repository. */
function links(page: string, text: string): readonly Link[] {
  return [...prose(text).matchAll(/\]\(([^()\s]+)\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [file = '', anchor = ''] = target.split('#');
      return { path: file === '' ? page : normalize(join(dirname(page), file)), anchor };
    });
}

/** The anchors that GitHub makes of the headings: letters and digits, dashes for spaces, a number behind a repeated one. */
function anchors(text: string): ReadonlySet<string> {
  const seen = new Map<string, number>();
  const headings = text.replaceAll(/^(`{3,}).*?^\1$/gms, '').matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map(([, title = '']) => {
      const words = title.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, '');
      const slug = words.trim().replaceAll(/\s/g, '-');
      const before = seen.get(slug) ?? 0;
      seen.set(slug, before + 1);
      return before === 0 ? slug : `${slug}-${before}`;
    }),
  );
}

/** Files that the text names by their path, in code or not, but for the targets of links. */
function namedFiles(text: string): readonly string[] {
  const rest = text.replaceAll(/\]\([^()\s]+\)/g, '');
  return rest.match(/(?<![\w/.-])(?:src|test|bench|scripts|units|examples|docs)\/[\w./-]*\.[a-z]+\b/g) ?? [];
}

function broken(page: string, text: string): readonly string[] {
  const targets = links(page, text).filter(({ path, anchor }) => {
    if (!existsSync(`${ROOT}/${path}`)) return true;
    return anchor !== '' && !anchors(TEXTS.get(path) ?? '').has(anchor);
  });
  return [
    ...targets.map(({ path, anchor }) => `link to ${path}${anchor && `#${anchor}`}`),
    ...namedFiles(text)
      .filter((path) => !existsSync(`${ROOT}/${path}`))
      .map((path) => `file ${path}`),
  ];
}

test('what a page links to and the files it names exist, headings included', () => {
  for (const [page, text] of TEXTS) assert.deepEqual(broken(page, text), [], page);
});

test('a broken link, a wrong heading and a file that is gone are found; code and other sites are left alone', () => {
  const text = [
    '[a](gone.md) [b](reading.md#no-such-heading) [c](reading.md#http) [d](https://example.org/x) [e](#here)',
    '## Here',
    'see `src/gone.ts` and `src/main.ts`, not `[f](gone.md)`',
    '```sh\n[ -e x ](gone.md)\n```',
  ].join('\n');
  assert.deepEqual(broken('docs/sample.md', text), [
    'link to docs/gone.md',
    'link to docs/reading.md#no-such-heading',
    'link to docs/sample.md#here',
    'file src/gone.ts',
  ]);
  assert.deepEqual([...anchors('# A b\n## `/x` and c-d, e_f\n## A b\n')], ['a-b', 'x-and-c-d-e_f', 'a-b-1']);
});

test('every page, and every other file of docs/, can be reached from the README', () => {
  const reached = new Set(['README.md']);
  for (const page of reached) for (const { path } of links(page, TEXTS.get(page) ?? '')) reached.add(path);
  const lost = [...AT_THE_TOP, ...DOCS].filter((path) => !reached.has(path));
  assert.deepEqual(lost, [], 'link them from the README, or from a page that it links');
});

test(`the README has at most ${README_MAX_LINES} lines`, () => {
  const lines = TEXTS.get('README.md')?.trimEnd().split('\n').length ?? 0;
  assert.ok(lines > 100 && lines <= README_MAX_LINES, `${lines} lines`);
});
