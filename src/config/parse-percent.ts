import { InvalidArgumentError } from 'commander';

/** Reads `15%`, `15` or `2.5%` as 15, 15 and 2.5. A share such as `0.15` is refused: it would mean 0.15 percent. */
export function percentBetween(min: number, max: number): (text: string) => number {
  return (text) => {
    const percent = Number(/^(\d{1,3}(?:\.\d{1,3})?)%?$/.exec(text)?.[1] ?? Number.NaN);
    if (!(percent >= min && percent <= max)) {
      throw new InvalidArgumentError(`Write a percentage from ${min}% to ${max}%, such as 15%.`);
    }
    return percent;
  };
}
