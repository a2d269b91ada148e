import { canonicalUnit } from './canonical-unit.ts';

/** fleet 1.0 cuts what is longer. */
const MAX_LINE_BYTES = 2_048;

/**
 * Why fleet would not run this file on every machine, or null. fleet itself says nothing: it takes such a file for a
 * unit that runs on one machine, or reads other commands in it than its author wrote.
 */
export function unitDefect(text: string): string | null {
  if (text.includes('\r')) return 'it has Windows line ends, with which fleet joins continued lines wrongly';
  const misread = misreadLine(text.split('\n'));
  if (misread !== null) return misread;
  const options = canonicalUnit(text);
  if (options.length === 0) return 'it has no settings';
  const fleetOptions = options.filter((option) => option.startsWith('X-Fleet\t'));
  if (!fleetOptions.includes('X-Fleet\tGlobal=true')) {
    return 'it is no global unit: fleet wants exactly "Global=true" below "[X-Fleet]"';
  }
  if (fleetOptions.some((option) => /^X-Fleet\tGlobal=(?!true$)/.test(option))) return 'it says Global= twice';
  return fleetOptions.map(misreadOption).find((defect) => defect !== null) ?? null;
}

function misreadLine(lines: readonly string[]): string | null {
  for (const [index, line] of lines.entries()) {
    const where = `line ${index + 1}`;
    const continued = index > 0 && lines[index - 1]?.endsWith('\\') === true;
    if (Buffer.byteLength(line) > MAX_LINE_BYTES) return `${where} is over ${MAX_LINE_BYTES} bytes, which fleet cuts`;
    if (/^\s*[#;]/.test(line)) {
      if (continued) return `${where} is a comment inside a continued line, which fleet makes part of it`;
    } else if (/\\[ \t]+$/.test(line)) return `${where} has a space behind its backslash, which ends the line`;
  }
  return null;
}

function misreadOption(option: string): string | null {
  const [, name = '', value = ''] = /^X-Fleet\t([^=]*)=(.*)$/.exec(option) ?? [];
  if (name === 'MachineMetadata' && !/^("[^"=]+=[^"=]+"\s*)+$/.test(value)) {
    return `fleet ignores MachineMetadata=${value} and would run it on every machine: write "NAME=VALUE", in quotes`;
  }
  if (/^(MachineID|MachineOf)$/.test(name)) return `${name}= is not for a global unit`;
  return null;
}
