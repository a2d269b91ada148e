import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** One setting of a unit, as fleet's registry keeps it. */
export interface UnitOption {
  readonly section: string;
  readonly name: string;
  readonly value: string;
}

export type DesiredState = 'inactive' | 'loaded' | 'launched';

export interface StandInUnit {
  readonly options: readonly UnitOption[];
  readonly dstate: DesiredState;
}

export interface StandInMachine {
  readonly id: string;
  readonly ip: string;
}

/** What a machine's systemd is said to do with a unit. */
export interface StandInUnitState {
  readonly unit: string;
  readonly machineId: string;
  readonly active: string;
  readonly sub: string;
}

/** The registry that the stand-in for fleetctl and the stand-in for the hosts share: files in one folder. */
export function fleetctlState(dir: string) {
  const unitPath = (name: string) => join(dir, 'units', `${name}.json`);
  const write = (path: string, value: unknown) => {
    writeFileSync(`${path}.${process.pid}`, JSON.stringify(value));
    renameSync(`${path}.${process.pid}`, path); // the other side never reads half of it
  };
  const read = <T>(path: string, none: T): T => (existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : none);
  return {
    unit: (name: string): StandInUnit | null => read(unitPath(name), null),
    unitNames: (): string[] =>
      readdirSync(join(dir, 'units'))
        .filter((file) => file.endsWith('.json'))
        .map((file) => file.slice(0, -'.json'.length))
        .sort(),
    putUnit: (name: string, unit: StandInUnit) => write(unitPath(name), unit),
    removeUnit: (name: string) => rmSync(unitPath(name), { force: true }),
    machines: (): StandInMachine[] => read(join(dir, 'machines.json'), []),
    putMachines: (machines: readonly StandInMachine[]) => write(join(dir, 'machines.json'), machines),
    states: (): StandInUnitState[] => read(join(dir, 'states.json'), []),
    putStates: (states: readonly StandInUnitState[]) => write(join(dir, 'states.json'), states),
    /** What the stand-in is to do wrong: `unreachable`, `ssh REASON` (the tunnel is not there), `refuse COMMAND`, `hang COMMAND`, `usage [COMMAND]` (it prints its usage and ends well), `forget replace`. */
    fault: (): string => read(join(dir, 'fault.json'), ''),
    putFault: (fault: string) => write(join(dir, 'fault.json'), fault),
  };
}

export type FleetctlState = ReturnType<typeof fleetctlState>;
