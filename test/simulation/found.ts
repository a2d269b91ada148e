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
  {
    what: 'after a restore a watch went on in another history, since the last that was seen was a deletion',
    scenario: {
      seed: 30115,
      nodes: 32,
      members: 1,
      readers: 1,
      ttlMs: 15_000,
      minutes: 8,
      faults: [
        { kind: 'drain', atMs: 60_000, forMs: 18_689, host: 1000, member: 0, force: 0.612207 },
        { kind: 'pause', atMs: 65_801, forMs: 12_145, host: 0, member: -1, force: 0.38243 },
        { kind: 'drain', atMs: 233_013, forMs: 11_774, host: 1, member: -1, force: 0.273429 },
        { kind: 'restore', atMs: 235_964, forMs: 6815, host: 1000, member: -1, force: 0.409875 },
        { kind: 'drain', atMs: 276_585, forMs: 4423, host: 2, member: -1, force: 0.440098 },
        { kind: 'restart', atMs: 304_709, forMs: 16_738, host: 3, member: -1, force: 0.276049 },
        { kind: 'drain', atMs: 377_314, forMs: 2883, host: 4, member: -1, force: 0.932193 },
        { kind: 'restore', atMs: 399_099, forMs: 17_931, host: 5, member: -1, force: 0.315777 },
      ],
    },
  },
  {
    what: 'the earlier of two agents ended later than the promise said, which had no place for its pause after an outage',
    scenario: {
      seed: 2,
      nodes: 1,
      members: 1,
      readers: 0,
      ttlMs: 120_000,
      minutes: 9,
      faults: [
        { kind: 'stop-store', atMs: 60_000, forMs: 90_000, host: 0, member: 0, force: 0.5 },
        { kind: 'crash', atMs: 61_000, forMs: 5_000, host: 0, member: 0, force: 0.5 },
        { kind: 'clone', atMs: 140_000, forMs: 390_000, host: 0, member: 0, force: 0.5 },
      ],
    },
  },
  {
    what: 'a node whose clock was set back came later than the promise said, which had no place for its pause after an outage',
    scenario: {
      seed: 1,
      nodes: 1,
      members: 1,
      readers: 0,
      ttlMs: 120_000,
      minutes: 14,
      faults: [
        { kind: 'jump-wall', atMs: 60_000, forMs: 1_000, host: 0, member: 0, force: 0.05 },
        { kind: 'full', atMs: 270_000, forMs: 100_000, host: 0, member: 0, force: 0.5 },
        { kind: 'crash', atMs: 300_000, forMs: 10_000, host: 0, member: 0, force: 0.5 },
        { kind: 'stop-store', atMs: 340_000, forMs: 160_000, host: 0, member: 0, force: 0.5 },
      ],
    },
  },
  {
    what: 'a restored backup had the presence of a session that was dead, and its successor ended for it',
    scenario: {
      seed: 3,
      nodes: 1,
      members: 1,
      readers: 0,
      ttlMs: 30_000,
      minutes: 6,
      faults: [
        { kind: 'restart', atMs: 120_000, forMs: 5_000, host: 0, member: 0, force: 0.5 },
        { kind: 'restore', atMs: 180_000, forMs: 1_000, host: 0, member: 0, force: 0.15 },
      ],
    },
  },
  {
    what: 'after a restore an agent wrote the same as before, at the same revision, and a reader took the store for the old one',
    scenario: {
      seed: 4000063,
      nodes: 4,
      members: 1,
      readers: 2,
      ttlMs: 15_000,
      minutes: 72,
      faults: [
        { kind: 'restore', atMs: 137_411, forMs: 1704, host: 0, member: -1, force: 0.431023 },
        { kind: 'slow', atMs: 323_397, forMs: 72_073, host: 2, member: 0, force: 0.686156 },
        { kind: 'stop-member', atMs: 1_066_889, forMs: 2978, host: 2, member: -1, force: 0.864065 },
        { kind: 'delete-key', atMs: 4_204_294, forMs: 12_378, host: 3, member: -1, force: 0.929911 },
        { kind: 'pause', atMs: 4_226_864, forMs: 146_285, host: 3, member: 0, force: 0.56687 },
        { kind: 'restart', atMs: 4_231_266, forMs: 7725, host: 1, member: -1, force: 0.415191 },
        { kind: 'restore', atMs: 4_231_581, forMs: 17_388, host: 3, member: -1, force: 0.156337 },
      ],
    },
  },
  {
    what: 'a connection that was dead brought its frozen host what was sent later, and a reader took that for the next',
    scenario: {
      seed: 10300060,
      nodes: 2,
      members: 3,
      readers: 1,
      ttlMs: 300_000,
      minutes: 21,
      faults: [
        { kind: 'cut-all', atMs: 811_517, forMs: 388_483, host: 0, member: 1, force: 0.447568 },
        { kind: 'move-leader', atMs: 860_105, forMs: 339_895, host: 1, member: 2, force: 0.37915 },
        { kind: 'cut', atMs: 864_054, forMs: 54_386, host: 1000, member: 0, force: 0.816104 },
        { kind: 'freeze', atMs: 1_001_960, forMs: 198_040, host: 1000, member: 1, force: 0.729522 },
        { kind: 'change', atMs: 1_017_156, forMs: 153_579, host: 1, member: 1, force: 0.073601 },
        { kind: 'cut-all', atMs: 1_126_711, forMs: 73_289, host: 1, member: -1, force: 0.813861 },
      ],
    },
  },
  {
    what: 'after two restores of one backup a reader took the second store for the first, of which it knew the last change alone',
    scenario: {
      seed: 10,
      nodes: 3,
      members: 1,
      readers: 1,
      ttlMs: 120_000,
      minutes: 6,
      faults: [
        { kind: 'restart', atMs: 120_000, forMs: 5_000, host: 0, member: 0, force: 0.5 },
        { kind: 'restart', atMs: 130_000, forMs: 5_000, host: 1, member: 0, force: 0.5 },
        { kind: 'restore', atMs: 180_000, forMs: 1_000, host: 0, member: 0, force: 80 / 600 },
        { kind: 'cut', atMs: 220_000, forMs: 60_000, host: 1000, member: 0, force: 0.9 },
        { kind: 'change', atMs: 230_000, forMs: 1_000, host: 2, member: 0, force: 0.2 },
        { kind: 'restore', atMs: 250_000, forMs: 1_000, host: 0, member: 0, force: 0.25 },
      ],
    },
  },
];
