import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { initialNodeState, type NodeEvent, type NodeState, reduceNode } from '../../src/agent/node-state.ts';
import { createObserveLog } from '../../src/agent/observe-log.ts';
import { keptLog } from '../support/kept-log.ts';
import { sampleRecord } from '../support/sample-record.ts';

describe('observe log', () => {
  const identity = {
    ...{ machineId: null, cluster: null, labels: {}, version: '1', session: 's' },
    startedAt: '2026-01-01T00:00:00.000Z',
  };

  function logged(...events: NodeEvent[]): string[] {
    const lines: string[] = [];
    const log = createObserveLog(
      keptLog(({ msg }) => lines.push(msg)),
      identity,
    );
    let state: NodeState = initialNodeState;
    for (const event of events) {
      const before = state;
      state = reduceNode(state, event, { rise: 1, fall: 1 }, 0);
      log.state(before, state);
    }
    return lines;
  }

  const result = (status: 'passing' | 'critical', reason: string): NodeEvent => ({
    kind: 'check',
    name: 'app',
    seen: { status, reason },
  });
  const notice = (time: string | null): NodeEvent => ({
    kind: 'notices',
    error: null,
    notices: { 'spot-interruption': time === null ? null : { kind: 'spot-interruption', action: 'stop', time } },
  });

  test('a check is logged when its status changes, not at each run nor for another reason', () => {
    const lines = logged(
      result('passing', ''),
      result('critical', 'a'),
      result('critical', 'a'),
      result('critical', 'b'),
      result('passing', ''),
    );
    assert.deepEqual(lines, ['check app is critical: a', 'check app passes again']);
  });

  test('a notice is logged once, again when it changes, and when it is taken back', () => {
    const [first, later] = ['2026-11-22T10:26:18.000Z', '2026-11-22T10:30:00.000Z'];
    assert.deepEqual(logged(notice(null), notice(first), notice(first), notice(later), notice(null), notice(null)), [
      `EC2 notice: spot-interruption stop at ${first}`,
      `EC2 notice: spot-interruption stop at ${later}`,
      'EC2 withdrew its notice: spot-interruption',
    ]);
  });

  test('a notice that the record keeps from an earlier agent is logged, and so is that EC2 takes it back', () => {
    const time = '2026-11-22T10:26:18.000Z';
    const interruption = { kind: 'spot-interruption', action: 'stop', time } as const;
    const record = sampleRecord({ interruption });
    const metadata: NodeEvent = { kind: 'metadata', facts: record, error: null, clockSkewMs: null };
    const recall: NodeEvent = { kind: 'last-record', record, checks: [] };
    const [notified, withdrawn] = [
      `EC2 notice: spot-interruption stop at ${time}`,
      'EC2 withdrew its notice: spot-interruption',
    ];
    assert.deepEqual(logged(metadata, recall, notice(time), notice(null)), [notified, withdrawn]);
    assert.deepEqual(logged(metadata, recall, notice(null)), [notified, withdrawn]);
    assert.deepEqual(logged(metadata, notice(null), recall), []);
  });
});
