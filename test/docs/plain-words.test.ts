import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Code, its tests, scripts, units and pages for readers. */
const PLACES = [
  'src',
  'test',
  'bench',
  'scripts',
  'units',
  'examples',
  'docs',
  'Dockerfile',
  'README.md',
  'CHANGELOG.md',
];
/** This file quotes what it refuses. */
const NOT_READ = /^test\/(?:node_modules\/|docs\/plain-words\.test\.ts$)/;

/** Words that are not plain, with plain ones. The text is compared without its line breaks and comment signs. */
const NOT_PLAIN: readonly (readonly [words: RegExp, instead: string])[] = [
  [/\b(?:whoever|nobody|somebody|someone)\b/gi, 'name the component or person: the agent, the reader, an operator'],
  [/\b(?:is|are|was|were|be|been|never) told\b/gi, 'an event is sent, a line is logged, a function is called'],
  [/\b(?:is|are) none of\b/gi, 'is not from, is not one of'],
  [/\bapart by\b/gi, 'comma-separated, separated by'],
  [/\bof another house\b/gi, 'outside EC2'],
  [/\bseats?\b/gi, 'registration'],
  [/\b(?:farewells?|goodbyes?)\b/gi, 'deregistration'],
  [/\b(?:testimony|witness(?:es)?)\b/gi, 'history check'],
  [/\bnews\b/gi, 'what it is: a status, a change, an event'],
  [/\bimpatient\b/gi, 'what it waits for, and how long'],
  [/\b(?:good|bad|first) looks?\b/gi, 'result, run, read'],
  [/\bdeposed\b/gi, 'lost leadership'],
  [/\breigns?\b/gi, 'term'],
  [/\bstanding\b/gi, 'continuous, present'],
  [/\bmuster(?:s|ed)?\b/gi, 'what it is: the machines that have answered, and those that have not'],
];

/** Where such a word is right. */
const EXCEPTIONS: readonly { readonly path: string; readonly text: string; readonly reason: string }[] = [
  { path: 'test/e2e/setup.test.ts', text: 'you are nobody', reason: 'the user of that name' },
  { path: 'test/e2e/setup.test.ts', text: 'chown -R nobody', reason: 'the user of that name' },
];

function filesIn(path: string): string[] {
  if (statSync(join(ROOT, path)).isFile()) return [path];
  return readdirSync(join(ROOT, path), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /(?:^[^.]+|\.(?:ts|mjs|sh|md|service|conf|bu))$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length))
    .filter((name) => !NOT_READ.test(name));
}

/** The changes of released versions stay as they were written. */
function read(path: string): string {
  const text = readFileSync(join(ROOT, path), 'utf8');
  return path === 'CHANGELOG.md' ? text.slice(0, text.search(/^## \[\d/m)) : text;
}

/** On one line, so that words are found on either side of a line break, also within a comment. */
function joined(text: string): string {
  return text.replaceAll(/\n[ \t]*(?:\*|\/\/|#|>)*[ \t]*/g, ' ');
}

function findings(path: string, text: string): string[] {
  const words = joined(text);
  return NOT_PLAIN.flatMap(([pattern, instead]) =>
    [...words.matchAll(pattern)]
      .map(({ index }) => words.slice(Math.max(0, index - 40), index + 40))
      .filter((found) => !EXCEPTIONS.some((each) => each.path === path && found.includes(each.text)))
      .map((found) => `${path}: "…${found}…"; plain: ${instead}`),
  );
}

describe('plain words', () => {
  const paths = PLACES.flatMap(filesIn);

  test('the texts that users and maintainers read are in plain words', () => {
    const found = paths.flatMap((path) => findings(path, read(path)));
    assert.deepEqual(found, []);
  });

  test('a word that is not plain is found also across a line break in a comment', () => {
    for (const text of [
      'Nobody reads',
      'Somebody else drained it',
      'a loss that was told',
      'never\ntold as lost',
      '// the node is\n  // told',
      ' * they are\n * none of ours',
      'apart\nby commas',
    ]) {
      assert.equal(findings('x.ts', text).length, 1, text);
    }
    assert.deepEqual(findings('x.ts', 'it told a seated reader; foreign'), []);
  });

  test('the places and the exceptions exist', () => {
    assert.ok(paths.length > 400, `${paths.length} files`);
    for (const { path, text } of EXCEPTIONS) assert.ok(joined(read(path)).includes(text), `${path}: ${text}`);
  });
});
