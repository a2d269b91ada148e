import assert from 'node:assert/strict';
import { accessSync, constants, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WORKFLOW = readFileSync(`${ROOT}/.github/workflows/ci.yml`, 'utf8');

test('CI calls scripts of the checkout that are there and can be run, and groups that scripts/test has', () => {
  const commands = [...WORKFLOW.matchAll(/^ +- run: (?:sudo env "PATH=\$PATH" CI=true )?(.+)$/gm)].map(
    ([, command = '']) => command.split(' '),
  );
  assert.equal(commands.length, 3);
  for (const [script = '', ...args] of commands) {
    assert.match(script, /^(scripts|\.ci)\//);
    accessSync(`${ROOT}/${script}`, constants.X_OK);
    if (script !== 'scripts/test') continue;
    const groups =
      /^ {2}(all \| .*)\) ;;$/m.exec(readFileSync(`${ROOT}/scripts/test`, 'utf8'))?.[1]?.split(' | ') ?? [];
    assert.ok(args.length === 1 && groups.includes(args[0] ?? ''), `${args} of ${groups}`);
  }
});

test('CI names no registry, and the actions of others by their commit', () => {
  assert.doesNotMatch(WORKFLOW, /registry|npmjs|https?:/);
  for (const [, action] of WORKFLOW.matchAll(/uses: (\S+)/g)) assert.match(action ?? '', /@[0-9a-f]{40}$/);
});

test('an editor and the formatter agree on indentation and width', () => {
  const editor = readFileSync(`${ROOT}/.editorconfig`, 'utf8');
  const { formatter } = JSON.parse(readFileSync(`${ROOT}/biome.json`, 'utf8'));
  for (const [key, value] of [
    ['indent_style', formatter.indentStyle],
    ['indent_size', formatter.indentWidth],
    ['max_line_length', formatter.lineWidth],
  ]) {
    assert.match(editor, new RegExp(`^${key} = ${value}$`, 'm'));
  }
});
