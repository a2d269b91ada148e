/** What an agent checks beside its sources and its store, parsed and within its limits. */
export interface CheckConfig {
  /** Path of docker's socket; null: no such check. Where there is no socket at start there is none either. */
  readonly dockerSocket: string | null;
  readonly disk: DiskCheckConfig | null;
  readonly http: readonly HttpCheckConfig[];
  readonly exec: readonly ExecCheckConfig[];
  /** Between the looks of one check. */
  readonly intervalMs: number;
  /** Of one look; less than the interval. */
  readonly timeoutMs: number;
  /** Equal looks in a row that a change for the better takes; ≥ 1. */
  readonly rise: number;
  /** And one for the worse; ≥ 1. */
  readonly fall: number;
}

export interface DiskCheckConfig {
  /** Absolute; any path on the file system in question. */
  readonly path: string;
  /** Percent of free space, and of free inodes, below which the check warns. */
  readonly warningPercent: number;
  /** Less than `warningPercent`. */
  readonly criticalPercent: number;
}

export interface HttpCheckConfig {
  readonly name: string;
  /** http or https, without user and password. */
  readonly url: string;
}

export interface ExecCheckConfig {
  readonly name: string;
  readonly argv: readonly [string, ...string[]];
}
