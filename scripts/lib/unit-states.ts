/**
 * machine id → `rollcall.service active/running, …` from the lines of
 * `fleetctl list-units --fields=unit,machine,active,sub --full --no-legend`.
 */
export function unitStates(text: string, units: readonly string[]): Map<string, string> {
  const states = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [unit = '', machine = '', active = '', sub = ''] = line.split(/\t+/);
    if (!units.includes(unit)) continue;
    const id = machine.split('/')[0] ?? '';
    const before = states.get(id);
    states.set(id, `${before === undefined ? '' : `${before}, `}${unit} ${active}/${sub}`);
  }
  return states;
}
