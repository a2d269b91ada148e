const share = Number(process.env['ROLLCALL_TEST_SHARE'] ?? 1);

/**
 * How often a property is tried, or how large a simulated fleet is: `whole`, and a share of it in the quick run, in which
 * `scripts/test` sets `ROLLCALL_TEST_SHARE`.
 */
export function fewerInQuickRun(whole: number): number {
  return Math.ceil(whole * share);
}
