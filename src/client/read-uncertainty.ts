import type { Uncertainty } from '../record/event.ts';
import { field } from '../record/field.ts';

/** @throws FieldError */
export function readUncertainty(from: Readonly<Record<string, unknown>>): Uncertainty {
  return {
    vanished: field.number(from['vanished'], 'vanished'),
    nodes: field.number(from['nodes'], 'nodes'),
    limitShare: field.number(from['limitShare'], 'limitShare'),
    limitCount: field.number(from['limitCount'], 'limitCount'),
    since: field.text(from['since'], 'since'),
    until: field.text(from['until'], 'until'),
  };
}
