import { type PassedOver, PLACEMENT_TESTS } from './passed-over.ts';

/** The node that came closest: it passed the most tests; among equals the first. Null where there was no node at all. */
export function nearestMiss(passedOver: readonly PassedOver[]): PassedOver | null {
  const passed = ({ test }: PassedOver) => PLACEMENT_TESTS.indexOf(test);
  return passedOver.reduce<PassedOver | null>(
    (nearest, each) => (nearest === null || passed(each) > passed(nearest) ? each : nearest),
    null,
  );
}
