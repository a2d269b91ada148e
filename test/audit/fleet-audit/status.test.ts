import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeAuditSummary } from '../../../src/audit/fleet-audit/documents.ts';
import {
  type AuditorState,
  type AuditorStep,
  initialAuditorState,
} from '../../../src/audit/fleet-audit/fleet-audit-plan.ts';
import { auditStatus, createAuditLog } from '../../../src/audit/fleet-audit/status.ts';
import { updateCopy } from '../../../src/audit/fleet-audit/summary-copy.ts';
import type { Log } from '../../../src/lib/log.ts';
import { sampleSummary } from '../../support/fake-audit.ts';

const self = { session: 'me', instanceId: null };

test('a result is stale after two intervals and a TTL, with the cause that is known', () => {
  const copy = updateCopy(null, encodeAuditSummary(sampleSummary(0)), { nowMs: 0, wallMs: 0 });
  const holder = { session: 's', instanceId: 'i-1' };
  const state = { ...initialAuditorState(30_000, 300_000), broken: null, copy, holder };
  assert.deepEqual(
    [630_000, 630_001].map((nowMs) => auditStatus(state, nowMs, self).stale),
    [false, true],
  );
  const reason = (more: Partial<AuditorState>) => auditStatus({ ...state, ...more }, 700_000, self).staleReason;
  assert.equal(
    reason({}),
    'the last result is 11m40s old, more than 10m30s: i-1 leads and has written no newer result',
  );
  assert.match(reason({ holder: null }) ?? '', /no agent leads yet$/);
  assert.match(
    reason({ trouble: { ...state.trouble, error: 'connection refused' } }) ?? '',
    /the store: connection refused$/,
  );
  assert.match(
    reason({ copy: updateCopy(null, '{}', { nowMs: 0, wallMs: 0 }) }) ?? '',
    /^no audit has succeeded yet: .* cannot be read/,
  );
  assert.match(reason({ copy: null }) ?? '', /the store has not been read yet$/);
});

test('the log says what an audit found and for how many it could not tell', () => {
  const said: unknown[] = [];
  const say = (level: string) => (text: unknown) => void said.push([level, text]);
  const log = createAuditLog({ info: say('info'), warn: say('warn') } as unknown as Log);
  const leading = { leadership: {} } as Pick<AuditorState, 'leadership'>;
  const { result, ...rest } = sampleSummary(0);
  assert.ok(result);
  const none = { ghost: 0, stray: 0, disconnected: 0, mismatch: 0 };
  const found = [{}, { undecided: 18 }, { undecided: 18, differences: none }, { differences: none }];
  for (const each of [{ differences: none }, ...found]) {
    const text = encodeAuditSummary({ ...rest, result: { ...result, ...each } });
    const copy = updateCopy(null, text, { nowMs: 0, wallMs: 0 });
    log({ action: 'publish' } as AuditorStep, { ...initialAuditorState(30_000, 300_000), ...leading, copy });
  }
  assert.deepEqual(said, [
    ['warn', 'the audit found differences: 1 ghost; see /v1/audit'],
    ['warn', 'the audit found differences: 1 ghost, 18 undecided; see /v1/audit'],
    ['warn', 'the audit found no difference, and could not tell for 18; see /v1/audit'],
    ['info', 'the audit found no difference'],
  ]);
});
