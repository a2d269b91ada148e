import type { AttributesState } from '../attributes/attributes-state.ts';
import type { AttributesStep } from '../attributes/attributes-step.ts';
import type { AttributesReport } from '../http/agent-report.ts';

/** How the attributes in ECS stand, from the step that is next. */
export function attributesReport(step: AttributesStep, state: AttributesState): AttributesReport {
  const current = step.action === 'done' || step.reason === 'ECS has what it should';
  const known = state.believed === null ? 'unknown' : current ? 'current' : 'behind';
  return {
    state: state.lastError === null ? known : 'failing',
    reason: state.lastError ?? step.reason,
    lastWrite: state.lastWrite,
  };
}
