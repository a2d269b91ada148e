/** What to do next, and why, in words that an operator may read in `/v1/self`. */
export type Step =
  | { readonly action: 'register'; readonly takeover: boolean; readonly reason: string }
  | { readonly action: 'renew' | 'renew-retention' | 'update' | 'depart'; readonly reason: string }
  /** Nothing to do before `untilMs`, unless the desired record changes or the agent is told to stop. */
  | { readonly action: 'wait'; readonly untilMs: number; readonly reason: string }
  | { readonly action: 'done'; readonly reason: string };
