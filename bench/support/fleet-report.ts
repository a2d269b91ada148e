export const REPORT_EVERY_MS = 500;

/** What a process of many publishers writes, a JSON line twice a second. */
export interface FleetReport {
  readonly held: number;
  /** When the heartbeat was sent that is the oldest of the newest of each, on the monotonic clock; 0: one is not registered. */
  readonly confirmedAtMs: number;
  readonly registrations: number;
  readonly beats: number;
  readonly failedBeats: number;
  readonly losses: number;
}

/** The counts of all processes together, and the oldest of their instants. */
export function addReports(reports: readonly FleetReport[]): FleetReport {
  return reports.reduce((a, b) => ({
    held: a.held + b.held,
    confirmedAtMs: Math.min(a.confirmedAtMs, b.confirmedAtMs),
    registrations: a.registrations + b.registrations,
    beats: a.beats + b.beats,
    failedBeats: a.failedBeats + b.failedBeats,
    losses: a.losses + b.losses,
  }));
}
