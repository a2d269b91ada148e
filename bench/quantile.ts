/**
 * The `share` quantile (0…1) of the values, interpolated between its two neighbours: 0.5 is the median.
 * @throws RangeError for no values
 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)];
  const above = sorted[Math.ceil(place)];
  if (below === undefined || above === undefined) throw new RangeError('a quantile needs at least one value');
  return below + (above - below) * (place - Math.floor(place));
}
