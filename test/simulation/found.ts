import type { Scenario } from './scenario.ts';

/** What a simulation found once, as small as it could be made, and what was wrong. Each is run again by a test. */
export const FOUND: readonly { readonly what: string; readonly scenario: Scenario }[] = [
  {
    what: 'a restored backup had an earlier record of a session that lived on, and the record stayed as it was',
    scenario: {
      seed: 1,
      nodes: 5,
      members: 1,
      readers: 1,
      ttlMs: 30_000,
      minutes: 14,
      faults: [
        { kind: 'change', atMs: 120_000, forMs: 1_000, host: 1, member: 0, force: 0.2 },
        { kind: 'restore', atMs: 180_000, forMs: 1_000, host: 0, member: 0, force: 0.15 },
      ],
    },
  },
];
