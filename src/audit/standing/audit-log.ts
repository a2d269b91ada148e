import type { Logger } from 'pino';
import { DIFFERENCE_KINDS } from '../audit-report.ts';
import type { AuditorState, AuditorStep } from './auditor-state.ts';

/** Turns the auditor's steps into few log lines: who leads, and each change of what the audits come to. Never each retry. */
export function createAuditLog(log: Logger): (step: AuditorStep, state: AuditorState) => void {
  let last: AuditorState | null = null;
  let told: string | null = null;
  return (step, state) => {
    const before = last;
    last = state;
    if (!before || before === state) return;
    if (state.tenure && !before.tenure) log.info('this agent audits the fleet now');
    if (!state.tenure && before.tenure) log.info(`this agent does not audit the fleet any more: ${step.reason}`);
    if (state.counts.refused > before.counts.refused) {
      log.warn('the store did not take the result of an audit: another agent leads by now');
    }
    if (state.lastError !== null && before.lastError === null) {
      log.warn({ action: step.action }, `audit: cannot ${step.action}: ${state.lastError}; retrying`);
    }
    if (!state.tenure || step.action !== 'publish' || state.news === before.news) return;
    const line = lineOf(state);
    if (line !== null && line.text !== told) log[line.level](line.text);
    told = line?.text ?? told;
  };
}

function lineOf({ news }: AuditorState): { readonly level: 'info' | 'warn'; readonly text: string } | null {
  const summary = news?.summary;
  if (!summary) return null;
  if (summary.lastRun.error !== null) return { level: 'warn', text: `the audit failed: ${summary.lastRun.error}` };
  const { result } = summary;
  if (!result) return null;
  const counted = DIFFERENCE_KINDS.filter((kind) => result.differences[kind] > 0);
  if (counted.length === 0) return { level: 'info', text: 'the audit found no difference' };
  const text = counted.map((kind) => `${result.differences[kind]} ${kind}`).join(', ');
  return { level: 'warn', text: `the audit found differences: ${text}; see /v1/audit` };
}
