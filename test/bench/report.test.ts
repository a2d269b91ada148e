import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Figure } from '../../bench/benchmark.ts';
import { type Report, renderReport, reportJson } from '../../bench/report.ts';

const figure = (overrides: Partial<Figure>): Figure => ({
  name: 'exec to visible',
  unit: 'ms',
  measured: 141.6,
  limit: { relation: 'under', value: 300 },
  peer: { name: 'node -e 0', measured: 28 },
  ...overrides,
});

const report = (figures: readonly Figure[], error: string | null = null): Report => ({
  machine: { cores: 2, processor: 'x86', memoryGb: 25.3, load: 0.5, node: '24.21.0', etcd: '3.4.23' },
  quick: false,
  results: [{ name: 'start', about: 'how it was measured', figures, error }],
});

const lastLine = (text: string) => text.trimEnd().split('\n').at(-1)?.split(/ {2,}/);

test('a row has the figure, what was measured, its limit and peer, and the verdict', () => {
  assert.deepEqual(lastLine(renderReport(report([figure({})]))), [
    'start',
    'exec to visible',
    '142 ms',
    'under 300 ms; node -e 0 28 ms',
    'within',
  ]);
  assert.equal(lastLine(renderReport(report([figure({ measured: 300 })])))?.at(-1), 'over');
});

test('a figure without a limit has no verdict', () => {
  const text = renderReport(report([figure({ limit: null, peer: null })]));
  assert.deepEqual(lastLine(text)?.slice(2), ['142 ms', '-', '-']);
});

test('the report names the machine and how each benchmark measured', () => {
  const text = renderReport(report([]));
  for (const part of ['2 cores', 'node 24.21.0', 'etcd 3.4.23', 'start: how it was measured']) {
    assert.ok(text.includes(part), `${part} is not in ${text}`);
  }
});

test('a benchmark that could not run says why', () => {
  const text = renderReport(report([], 'etcd did not start'));
  assert.deepEqual(lastLine(text)?.slice(0, 4), ['start', 'could not run', '-', 'etcd did not start']);
});

test('the JSON has unrounded numbers and the verdicts', () => {
  const { benchmarks } = JSON.parse(reportJson(report([figure({}), figure({ limit: null })])));
  assert.equal(benchmarks[0].figures[0].measured, 141.6);
  assert.deepEqual(
    benchmarks[0].figures.map((one: { verdict: unknown }) => one.verdict),
    ['within', null],
  );
});
