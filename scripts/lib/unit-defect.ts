import { canonicalUnit } from './canonical-unit.ts';

/**
 * Why fleet would not run this file on every machine, or null. fleet itself says nothing: it takes such a file for a
 * unit that runs on one machine, or reads other commands in it than its author wrote.
 */
export function unitDefect(text: string): string | null {
  if (text.includes('\r')) return 'it has Windows line ends, with which fleet joins continued lines wrongly';
  const options = canonicalUnit(text);
  if (options.length === 0) return 'it has no settings';
  const fleetOptions = options.filter((option) => option.startsWith('X-Fleet\t'));
  if (!fleetOptions.includes('X-Fleet\tGlobal=true')) {
    return 'it is no global unit: fleet wants exactly "Global=true" below "[X-Fleet]"';
  }
  if (fleetOptions.some((option) => /^X-Fleet\tGlobal=(?!true$)/.test(option))) return 'it says Global= twice';
  return null;
}
