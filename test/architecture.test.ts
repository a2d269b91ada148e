import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** The text of each file by its path in src/. */
type Files = ReadonlyMap<string, string>;

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MAX_LINES = 450;
/** A shorter file with one importer, in its own folder, is a part of that importer. */
const MIN_LINES = 40;

const SRC = readSources('.');

/** What every command loads before it does anything: no package but commander, and no module of Node that is large. */
const LOADED_AT_START = /^(commander|node:(fs|fs\/promises|net|os|path|util))$/;

/** What may touch the process: the two at its edge, and what no argument can stand for. */
const PROCESS: Exceptions = {
  'main.ts': /./,
  // It runs before `main.ts`, and says that there is none.
  'start.ts': /^process\.(stderr|exit|argv)$/,
  // It must hear a signal before the rest of the program loads.
  'lib/stop-signals.ts': /^process\.(on|pid)$/,
  // One scale of time for all processes of a boot: the clock is what everything else gets as an argument.
  'lib/clock.ts': /^process\.hrtime$/,
  // It signals the process group that it started.
  'lib/run-command.ts': /^process\.kill$/,
};
const TIME: Exceptions = {
  'lib/clock.ts': /^(Date\.now|setTimeout|performance)$/,
  // In a browser: it hands its clocks to the rest of the board.
  'board/main.tsx': /^(Date\.now|setTimeout|setInterval|performance)$/,
};
/** Where a clock and randomness are chosen: once for the program, once for the package. */
const WIRING: Exceptions = {
  'main.ts': /^(Math\.random|systemClock)$/,
  'client/connect.ts': /^(Math\.random|systemClock)$/,
  'client/connect-http.ts': /^(Math\.random|webClock)$/,
  'board/main.tsx': /^Math\.random$/,
  'lib/clock.ts': /^(systemClock|webClock)$/,
  // The session of an agent must be like no other, in tests too.
  'cli/agent.ts': /^randomUUID$/,
};

describe('docs/architecture.md says what each folder may import', () => {
  const table = readTable(readFileSync(`${ROOT}/docs/architecture.md`, 'utf8'));

  test('every folder of src/ is in its table, and nothing else', () => {
    const folders = new Set([...SRC.keys()].map(folderOf));
    assert.deepEqual([...table.keys()].sort(), [...folders].sort());
    for (const [folder, allowed] of table) {
      for (const entry of allowed) assert.ok(entry === '*' || exists(entry), `${folder}: there is no ${entry}`);
    }
  });

  test('an import that it does not allow is found', () => {
    const rules = readTable('| `a/`, `main.ts` | x | all |\n| `b/` | x | c/one |\n| `c/` | x | nothing of ours |\n');
    const broken = new Map([
      ['a/a.ts', "import '../b/b.ts';\nimport type { M } from '../main.ts';\n"],
      ['b/b.ts', "import {\n  one,\n} from '../c/one.ts';\nexport { two } from '../c/two.ts';\n"],
      ['c/one.ts', "type T = typeof import('../b/b.ts');\nimport './two.ts';\n"],
      ['c/two.ts', "import '../../test/x.ts';\n"],
    ]);
    assert.deepEqual(forbiddenImports(broken, rules), [
      'b/b.ts imports c/two.ts',
      'c/one.ts imports b/b.ts',
      'c/two.ts imports ../test/x.ts',
    ]);
  });

  test('src/ holds it', () => assert.deepEqual(forbiddenImports(SRC, table), []));
});

describe('no two files and no two folders import each other', () => {
  test('a circle is found, between files and between folders', () => {
    const broken = new Map([
      ['a/1.ts', "import type { X } from '../b/1.ts';"],
      ['b/1.ts', ''],
      ['b/2.ts', "import '../c/1.ts';"],
      ['c/1.ts', "import '../c/2.ts';"],
      ['c/2.ts', "import '../a/1.ts'; await import('./1.ts');"],
    ]);
    assert.deepEqual(circles(importGraph(broken)), ['c/1.ts → c/2.ts → c/1.ts']);
    assert.deepEqual(circles(folderGraph(broken)), ['a → b → c → a']);
  });

  test('there is none between files', () => assert.deepEqual(circles(importGraph(SRC)), []));
  test('there is none between folders', () => assert.deepEqual(circles(folderGraph(SRC)), []));
});

describe('a command loads the rest when it is asked for it', () => {
  test('what main.ts loads through others is found; types and import(…) load nothing', () => {
    const broken = new Map([
      [
        'main.ts',
        "import { a } from './cli/a.ts';\nimport type { B } from './cli/b.ts';\nawait import('./cli/c.ts');\n",
      ],
      ['cli/a.ts', "import type { D } from 'd';\nimport { e } from 'e';\nexport {\n  f,\n  type G,\n} from 'f';\n"],
      ['cli/b.ts', "import 'g';\n"],
      ['cli/c.ts', "import 'h';\n"],
    ]);
    assert.deepEqual(loadedAtStart(broken), ['e', 'f']);
  });

  test('src/ holds it', () => {
    assert.deepEqual(
      loadedAtStart(SRC).filter((name) => !LOADED_AT_START.test(name)),
      [],
    );
  });
});

describe('one concept a file', () => {
  test('a file that is too long, and a splinter, are found', () => {
    const lines = (count: number) => '\n'.repeat(count);
    const broken = new Map([
      ['a/user.ts', `import './splinter.ts';\nimport './part.ts';\nimport '../b/shared.ts';${lines(MAX_LINES)}`],
      ['a/splinter.ts', lines(MIN_LINES - 1)],
      ['a/part.ts', lines(MIN_LINES)],
      ['b/shared.ts', lines(3)],
    ]);
    assert.deepEqual(misshapen(broken), [
      `a/user.ts has ${MAX_LINES + 2} lines, more than ${MAX_LINES}`,
      `a/splinter.ts has ${MIN_LINES - 1} lines and one importer: make it a part of a/user.ts`,
    ]);
  });

  test('there are none', () => assert.deepEqual(misshapen(SRC), []));

  test('two files of one name, in different folders, are found', () => {
    const broken = new Map(['a/plan.ts', 'b/plan.ts', 'b/run.ts'].map((path) => [path, '']));
    assert.deepEqual(sharedFileNames(broken), ['plan.ts: a/plan.ts, b/plan.ts']);
  });

  test('each file has a name of its own', () => assert.deepEqual(sharedFileNames(SRC), []));
});

describe('what is exported is used by another file', () => {
  test('an export without a user is found', () => {
    const files = new Map([
      ['a.ts', 'export const one = 1;\nexport function two() {}\nexport interface Three {}\nexport class Four {}\n'],
      [
        'b.ts',
        "import { one } from './a.ts';\nimport {\n  type Three as T,\n} from './a.ts';\nexport const five = 5;\n",
      ],
      ['../test/c.ts', "const { two } = await import('../src/a.ts');\n(await import('../src/b.ts')).five;\n"],
    ]);
    assert.deepEqual(unusedExports(files), ['a.ts: Four']);
  });

  test('there is none', () => {
    const users = ['test', 'bench', 'scripts'].flatMap((folder) => [...readSources(`../${folder}`)]);
    assert.deepEqual(unusedExports(new Map([...SRC, ...users])), []);
  });
});

describe('a function has a name of its own', () => {
  test('a name that two files give is found', () => {
    const files = new Map([
      ['a.ts', 'export async function one() {\n  function three() {}\n}\nfunction* two() {}\n'],
      ['b.ts', 'function one() {}\nexport function three() {}\n'],
    ]);
    assert.deepEqual(sharedNames(files), ['one: a.ts, b.ts']);
  });

  test('there is none', () => assert.deepEqual(sharedNames(SRC), []));
});

describe('the process, time and randomness come in as arguments', () => {
  const code = (line: string): Files => new Map([['a.ts', line]]);
  const USES = [
    { what: 'the process', pattern: processUses, exceptions: PROCESS },
    { what: 'a timer or the time', pattern: timeUses, exceptions: TIME },
    { what: 'randomness or the system’s clock', pattern: wiringUses, exceptions: WIRING },
  ];
  const BREAKS = [
    ['process.env', 'const { env } = process;', "import { env } from 'node:process';", 'process?.exit()'],
    ['Date.now()', 'new Date()', 'setInterval(f, 1)', 'AbortSignal.timeout(5)', 'performance.now()'],
    ['Math.random()', 'x = systemClock;', 'crypto.randomUUID()', 'randomInt(3)'],
  ];
  for (const [index, { what, pattern, exceptions }] of USES.entries()) {
    test(`${what}: a use of it is found`, () => {
      for (const line of BREAKS[index] ?? []) assert.equal(usesOf(code(line), pattern, {}).length, 1, line);
      const words =
        "// process.env, Date.now()\n/** setTimeout of\n * process.env */\nthrow new Error('the process ended');";
      assert.deepEqual(usesOf(code(words), pattern, {}), []);
    });
    test(`${what}: src/ uses it only where it must`, () => {
      assert.deepEqual(usesOf(SRC, pattern, exceptions), []);
      // An exception that nothing needs any more goes.
      for (const path of Object.keys(exceptions)) {
        assert.notDeepEqual(usesOf(new Map([[path, SRC.get(path) ?? '']]), pattern, {}), [], path);
      }
    });
  }
});

/** What a file may do that others may not, by its path. */
type Exceptions = Readonly<Record<string, RegExp>>;

/** @returns the files of a folder by their paths in src/ */
function readSources(folder: string): Files {
  const paths = readdirSync(`${ROOT}/src/${folder}`, { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.tsx?$/.test(path) && !path.endsWith('.d.ts') && !path.startsWith('node_modules/'))
    .sort();
  return new Map(
    paths.map((path) => [posix.join(folder, path), readFileSync(`${ROOT}/src/${folder}/${path}`, 'utf8')]),
  );
}

/** @returns for each folder, and for `main.ts`, what it may import: folders, files without `.ts`, or `*` */
function readTable(markdown: string): Map<string, readonly string[]> {
  const rows = [...markdown.matchAll(/^\| (`.*) \|.*\| (.*) \|$/gm)];
  return new Map(
    rows.flatMap(([, first = '', last = '']) => {
      const allowed = last === 'all' ? ['*'] : last === 'nothing of ours' ? [] : last.split(', ');
      // In parentheses stand the folders within.
      const names = [...first.replace(/\(.*\)/, '').matchAll(/`([^`]+?)\/?`/g)];
      return names.map(([, name = '']): [string, readonly string[]] => [name, allowed]);
    }),
  );
}

function exists(entry: string): boolean {
  return SRC.has(`${entry}.ts`) || [...SRC.keys()].some((path) => path.startsWith(`${entry}/`));
}

function folderOf(path: string): string {
  return path.split('/')[0] ?? '';
}

/** Paths in src/; imports of types and `import(…)` included. */
function importsOf(path: string, text: string): string[] {
  const specifiers = text.matchAll(/(?:\bfrom|\bimport|\bimport\()\s*'(\.[^']+)'/g);
  return [...new Set([...specifiers].map(([, to = '']) => posix.join(posix.dirname(path), to)))];
}

function forbiddenImports(files: Files, table: ReadonlyMap<string, readonly string[]>): string[] {
  return [...files].flatMap(([path, text]) => {
    const allowed = [folderOf(path), ...(table.get(folderOf(path)) ?? [])];
    const mayImport = (to: string) =>
      allowed.some(
        (entry) => (entry === '*' && !to.startsWith('..')) || to.startsWith(`${entry}/`) || to === `${entry}.ts`,
      );
    return importsOf(path, text)
      .filter((to) => !mayImport(to))
      .map((to) => `${path} imports ${to}`);
  });
}

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

function importGraph(files: Files): Graph {
  return new Map([...files].map(([path, text]) => [path, new Set(importsOf(path, text))]));
}

function folderGraph(files: Files): Graph {
  const graph = new Map<string, Set<string>>();
  for (const [path, text] of files) {
    const from = folderOf(path);
    const to = importsOf(path, text)
      .map(folderOf)
      .filter((folder) => folder !== from);
    graph.set(from, new Set([...(graph.get(from) ?? []), ...to]));
  }
  return graph;
}

/** One circle for each edge that closes one, found depth first. */
function circles(graph: Graph): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (node: string, way: readonly string[]) => {
    const at = way.indexOf(node);
    if (at !== -1) found.push([...way.slice(at), node].join(' → '));
    if (at !== -1 || done.has(node)) return;
    for (const next of graph.get(node) ?? []) visit(next, [...way, node]);
    done.add(node);
  };
  for (const node of graph.keys()) visit(node, []);
  return found;
}

/** @returns packages and modules of Node that are loaded with `main.ts`, sorted */
function loadedAtStart(files: Files): string[] {
  const loaded = new Set(['main.ts']);
  const modules = new Set<string>();
  for (const path of loaded) {
    const statements = (files.get(path) ?? '').matchAll(
      /^(?:import|export)\s(?!type\s)(?:[\w\s,{}*]*?\bfrom\s)?'([^']+)';/gm,
    );
    for (const [, to = ''] of statements) {
      if (to.startsWith('.')) loaded.add(posix.join(posix.dirname(path), to));
      else modules.add(to);
    }
  }
  return [...modules].sort();
}

function misshapen(files: Files): string[] {
  const graph = importGraph(files);
  return [...files].flatMap(([path, text]) => {
    const lines = text.split('\n').length - 1;
    if (lines > MAX_LINES) return [`${path} has ${lines} lines, more than ${MAX_LINES}`];
    const importers = [...graph].filter(([, imports]) => imports.has(path)).map(([from]) => from);
    const [only = ''] = importers;
    if (lines >= MIN_LINES || importers.length !== 1 || posix.dirname(only) !== posix.dirname(path)) return [];
    return [`${path} has ${lines} lines and one importer: make it a part of ${only}`];
  });
}

function sharedFileNames(files: Files): string[] {
  const paths = Map.groupBy(files.keys(), (path) => posix.basename(path));
  return [...paths].filter(([, of]) => of.length > 1).map(([name, of]) => `${name}: ${of.join(', ')}`);
}

/** @returns what files in src/ declare as exported and no other file of `files` imports */
function unusedExports(files: Files): string[] {
  const used = new Set<string>();
  for (const [path, text] of files) {
    const imports = text.matchAll(
      /\{([^{}]*)\}\s*(?:from|=\s*await import\()\s*'(\.[^']+)'|\bimport\('(\.[^']+)'\)\)?\.(\w+)/g,
    );
    for (const [, names, from, from2 = from ?? '', name = names ?? ''] of imports) {
      const file = posix.relative('/src', posix.join('/src', posix.dirname(path), from2));
      for (const one of name.split(','))
        used.add(
          `${file}: ${
            one
              .trim()
              .replace(/^type /, '')
              .split(/ as |:/)[0]
          }`,
        );
    }
  }
  return [...files].flatMap(([path, text]) =>
    [...text.matchAll(/^export (?:(?:async|abstract) )?(?:const|function\*?|class|interface|type|enum) (\w+)/gm)]
      .map(([, name]) => `${path}: ${name}`)
      .filter((name) => !path.startsWith('..') && !used.has(name)),
  );
}

/** @returns the names of top-level functions that more than one file declares, with the files */
function sharedNames(files: Files): string[] {
  const paths = new Map<string, string[]>();
  for (const [path, text] of files) {
    for (const [, name = ''] of text.matchAll(/^(?:export )?(?:async )?function\*? (\w+)/gm)) {
      paths.set(name, [...(paths.get(name) ?? []), path]);
    }
  }
  return [...paths].filter(([, of]) => of.length > 1).map(([name, of]) => `${name}: ${of.join(', ')}`);
}

function processUses(code: string): readonly string[] {
  return code.match(/\bprocess\b(?:\??\.\w+|\[)|[=(,:]\s*process\s*(?=[;,)])|'node:process'/g) ?? [];
}

function timeUses(code: string): readonly string[] {
  const found = code.match(
    /\bDate\.now\b|\bnew Date\(\)|\bset(?:Timeout|Interval)\b|\bAbortSignal\.timeout\b|\bperformance\b/g,
  );
  return found ?? [];
}

function wiringUses(code: string): readonly string[] {
  return code.match(/\bMath\.random\b|\b(?:system|web)Clock\b|\brandom(?:UUID|Bytes|Int)\b/g) ?? [];
}

/** Uses in code, not in comments, but for those that an exception covers. */
function usesOf(files: Files, uses: (code: string) => readonly string[], exceptions: Exceptions): string[] {
  return [...files].flatMap(([path, text]) => {
    const code = text.replace(/\/\*\*?[\s\S]*?\*\/|(?:^|\s)\/\/.*$/gm, '');
    return uses(code)
      .filter((use) => !exceptions[path]?.test(use))
      .map((use) => `${path}: ${use}`);
  });
}
