import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  ageText,
  commandsFor,
  drainAgeText,
  momentText,
  nodeAgeText,
  nodeClockText,
  noNodesText,
  shellWord,
  titleText,
} from '../../src/board/text.ts';

test('an age has at most two units and is never negative', () => {
  const ages = [-5_000, 999, 59_000, 61_000, 3_600_000, 3_900_000, 172_800_000].map(ageText);
  assert.deepEqual(ages, ['0 s', '0 s', '59 s', '1 min', '1 h', '1 h 5 min', '2 d']);
});

test('an age of a node is by the clock that all nodes share, or the page says by which it is', () => {
  const nowMs = Date.parse('2026-01-01T12:00:00Z');
  const of = (clockSkewSeconds: number | null) => ({ ec2InstanceId: 'i-00000001', clockSkewSeconds });
  const ages = [0, -3_000, 300, null].map((skew) => nodeAgeText(of(skew), '2026-01-01T11:00:00.000Z', nowMs));
  assert.deepEqual(ages, ['1 h', '10 min', '1 h 5 min', '1 h']);
  assert.equal(nodeClockText(of(0)), null);
  assert.match(
    nodeClockText(of(-3_000)) ?? '',
    /^the clock of i-00000001 is 50 min behind EC2's; the ages are not by it$/,
  );
  assert.match(nodeClockText(of(null)) ?? '', /; the ages are by it$/);
});

test('an age of a drain is by the clock by which the drain began', () => {
  const since = '2026-01-01T11:00:00.000Z';
  const nowMs = Date.parse('2026-01-01T12:00:00Z');
  const ageOf = (phase: string | null) => drainAgeText({ phase, since }, nowMs, nowMs + 3_600_000);
  assert.deepEqual(['claimed', 'drained', null, 'manual'].map(ageOf), ['2 h', '2 h', '2 h', '1 h']);
  assert.equal(drainAgeText({ phase: 'drained', since: null }, nowMs, nowMs), null);
});

test('an instant of another day has its date', () => {
  const now = new Date(2026, 10, 22, 12, 48, 27).getTime();
  assert.equal(momentText(now - 60_000, now), '12:47:27');
  assert.equal(momentText(now - 86_400_000, now), 'Nov 21 12:48:27');
  const night = new Date(2026, 10, 22, 0, 20).getTime();
  assert.equal(momentText(night, night), '00:20:00');
});

test('neither a cluster without nodes nor a roll not read looks like an empty store', () => {
  assert.equal(noNodesText(null, true), 'No node has registered in this store.');
  assert.equal(noNodesText('nope', true), 'No node is in cluster nope.');
  assert.equal(noNodesText(null, false), 'No roll has been read yet.');
});

test('the title has a number only while it is kept current', () => {
  assert.equal(titleText('live', 3, 'demo'), '3 not well · rollcall · demo');
  assert.equal(titleText('live', 0, null), 'rollcall');
  assert.equal(titleText('loading', 3, null), 'rollcall');
  assert.equal(titleText('paused', 3, null), 'paused · rollcall');
  assert.equal(titleText('retrying', 3, null), 'not connected · rollcall');
});

test('what stands in a command to copy is one word of a shell', () => {
  assert.equal(shellWord('i-0123'), 'i-0123');
  assert.equal(shellWord('a; rm -rf /'), "'a; rm -rf /'");
  assert.equal(shellWord("$(x)'y"), `'$(x)'\\''y'`);
  const hostile = { id: 'i-00000001', arn: 'a$(x)', cluster: 'c`x`', address: '10.0.0.1' };
  const lines = commandsFor(hostile, 'http://127.0.0.1:51690', false).map(({ line }) => line);
  assert.ok(lines.includes("aws ecs describe-container-instances --cluster 'c`x`' --container-instances 'a$(x)'"));
  assert.ok(lines.includes('curl -s http://127.0.0.1:51690/v1/containerInstances/i-00000001'));
  const withToken = commandsFor(hostile, 'https://h:1', true).find(({ line }) => line.startsWith('curl'));
  assert.match(withToken?.line ?? '', /-H "Authorization: Bearer \$TOKEN"/);
});

/** https://www.w3.org/TR/WCAG22/#dfn-relative-luminance */
function luminance(hex: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [light = 0, dark = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

test('all text of the board has the contrast of WCAG AA on what it can stand on, light and dark', () => {
  const css = readFileSync(new URL('../../src/board/board.css', import.meta.url), 'utf8');
  const palettes = [...css.matchAll(/:root \{(.*?)\}/gs)].map(
    ([, body = '']) =>
      new Map([...body.matchAll(/--([\w-]+): (#\w{6});/g)].map(([, name = '', hex = '']) => [name, hex])),
  );
  assert.equal(palettes.length, 2);
  const texts = ['text', 'muted', 'accent', 'passing-text', 'warning-text', 'critical-text', 'lost-text'];
  for (const palette of palettes) {
    const colour = (name: string) => palette.get(name) ?? assert.fail(`no --${name}`);
    for (const text of texts) {
      for (const ground of ['page', 'panel', 'raised']) {
        const ratio = contrast(colour(text), colour(ground));
        assert.ok(ratio >= 4.5, `${text} on ${ground}: ${ratio.toFixed(2)}`);
      }
    }
    for (const ground of ['bad-bg', 'doubt-bg', 'note-bg']) {
      for (const text of ['text', 'muted'])
        assert.ok(contrast(colour(text), colour(ground)) >= 4.5, `${text} ${ground}`);
    }
    assert.ok(contrast(colour('accent'), colour('page')) >= 4.5, 'the button of the token form');
    // https://www.w3.org/TR/WCAG22/#non-text-contrast
    for (const edge of ['passing-edge', 'warning-edge', 'critical', 'lost', 'departed']) {
      for (const ground of ['page', 'panel', 'raised']) {
        const ratio = contrast(colour(edge), colour(ground));
        assert.ok(ratio >= 3, `${edge} on ${ground}: ${ratio.toFixed(2)}`);
      }
    }
  }
});

test('each square has a fill or an edge of a colour that stands out', () => {
  const css = readFileSync(new URL('../../src/board/board.css', import.meta.url), 'utf8');
  for (const [state, colour] of [
    ['passing', 'passing-edge'],
    ['warning', 'warning-edge'],
    ['critical', 'critical'],
    ['lost', 'lost'],
    ['departed', 'departed'],
  ] as const) {
    const rule = new RegExp(`\\ni\\.${state} \\{([^}]*)\\}`).exec(css)?.[1] ?? '';
    const drawn =
      state === 'critical' ? /background: var\(--critical\)/ : /box-shadow: inset 0 0 0 [12]px var\(--([\w-]+)\)/;
    assert.match(rule, drawn, state);
    if (state !== 'critical') assert.equal(drawn.exec(rule)?.[1], colour);
  }
});
