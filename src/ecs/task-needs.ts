/** What one task takes of a container instance. */
export interface TaskNeeds {
  readonly cpuUnits: number;
  readonly memoryMiB: number;
  /** Host ports, TCP. */
  readonly ports: readonly number[];
  readonly portsUdp: readonly number[];
}
