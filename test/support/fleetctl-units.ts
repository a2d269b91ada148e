import type { UnitOption } from './fleetctl-state.ts';

/** How a fleetctl reads a unit file: 0.11 joins continued lines into one, 1.0 keeps them as they stand. */
export function parseUnit(text: string, joins: boolean): UnitOption[] {
  const options: UnitOption[] = [];
  let section = '';
  let pending = '';
  for (const raw of text.split('\n')) {
    const line = pending === '' ? raw.trimStart() : raw;
    if (pending === '' && (line === '' || line.startsWith('#') || line.startsWith(';'))) continue;
    if (pending === '' && line.startsWith('[')) {
      section = line.trim().slice(1, -1);
      continue;
    }
    if (line.endsWith('\\')) {
      pending += joins ? `${line.slice(0, -1)} ` : `${line}\n`;
      continue;
    }
    const whole = pending + line;
    pending = '';
    const equals = whole.indexOf('=');
    options.push({ section, name: whole.slice(0, equals).trim(), value: whole.slice(equals + 1).trim() });
  }
  return options;
}

/** What `fleetctl cat` prints: no comments, no indentation; 1.0 puts the parts of a section together. */
export function serializeUnit(options: readonly UnitOption[], groups: boolean): string {
  const order = groups ? [...new Set(options.map(({ section }) => section))] : null;
  const sorted = order ? order.flatMap((name) => options.filter(({ section }) => section === name)) : options;
  let text = '';
  let section: string | null = null;
  for (const option of sorted) {
    if (option.section !== section) text += `${section === null ? '' : '\n'}[${option.section}]\n`;
    section = option.section;
    text += `${option.name}=${option.value}\n`;
  }
  return text;
}

export function isGlobal(options: readonly UnitOption[], anyCase: boolean): boolean {
  const value = options.findLast(({ section, name }) => section === 'X-Fleet' && name === 'Global')?.value ?? '';
  return (anyCase ? value.toLowerCase() : value) === 'true';
}
