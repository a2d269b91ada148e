import type { Uncertainty } from '../record/event.ts';
import { field } from '../record/field.ts';

/** @throws FieldError */
export function readUncertainty(from: Readonly<Record<string, unknown>>): Uncertainty {
  return {
    vanished: field.number(from, 'vanished'),
    nodes: field.number(from, 'nodes'),
    limitShare: field.number(from, 'limitShare'),
    limitCount: field.number(from, 'limitCount'),
    since: field.text(from, 'since'),
    until: field.text(from, 'until'),
  };
}
