export const REPORT_EVERY_MS = 250;

/** What a process of many heartbeats writes. */
export interface HeartbeatReport {
  connected: number;
  beats: number;
  failedBeats: number;
}
