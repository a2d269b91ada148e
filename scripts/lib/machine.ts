/** One line of `fleetctl list-machines`. */
export interface Machine {
  /** What /etc/machine-id says there. */
  readonly id: string;
  readonly address: string | null;
}

/** `machine<TAB>ip` lines, as `fleetctl list-machines --full --no-legend` prints them; fleet pads with further tabs. */
export function parseMachines(text: string): Machine[] {
  return text
    .split('\n')
    .map((line) => line.split(/\t+/))
    .filter(([id = '']) => id !== '')
    .map(([id = '', address = '-']) => ({ id, address: address === '-' ? null : address }));
}

/** How an operator knows the machine. */
export function machineName({ id, address }: Machine): string {
  return address === null ? `machine ${id}` : `${address} (machine ${id})`;
}
