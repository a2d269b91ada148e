import type { AuditReport } from '../audit/audit-report.ts';
import { createSseParser } from '../client/sse.ts';
import type { Uncertainty } from '../record/events.ts';
import type { NodeRecord } from '../record/record.ts';
import { AnswerError, type AskDeps, answerError, limited, readJson } from './ask.ts';
import { attentionEnds, pageIsSeen } from './attention.ts';
import type { BoardRoll, EventJson, RollJson } from './board-roll.ts';

/**
 * - `loading`: the page waits for the first byte of its events, at its start or after it was hidden or asleep. - `live`:
 * events arrive as they happen. - `paused`: the page is hidden and reads nothing. - `retrying`: the agent does not answer,
 * or does not know the roll, or sends no events; `error` says why. - `denied`: it wants a token, or another one.
 */
type FeedPhase = 'loading' | 'live' | 'paused' | 'retrying' | 'denied';

/** What of `/v1/self` the page shows. */
interface SelfJson {
  readonly version: string;
  /** Of the agent's process. */
  readonly session: string;
  /** Of the agent's own node; null: not published yet. */
  readonly record: Pick<NodeRecord, 'clockSkewSeconds'> | null;
  readonly lease: { readonly store: string };
  readonly roll: {
    readonly ageMs: number | null;
    readonly stale: boolean;
    readonly uncertainty: Uncertainty | null;
    readonly lastError: string | null;
  };
}

export interface DrainJson {
  readonly ec2InstanceId: string;
  readonly phase: string | null;
  readonly cluster: string | null;
  readonly reason: string | null;
  readonly since: string | null;
}

/** What of `/v1/status` the page shows. */
interface StatusJson {
  /** null: the agent cannot read them; `notes` says why. */
  readonly drains: readonly DrainJson[] | null;
  /** How many there are, which may be more than `drains` has. */
  readonly draining: number | null;
  readonly notes: readonly string[];
}

export interface AuditJson {
  /** `omitted`: how many more there were of each kind. */
  readonly report: AuditReport & { readonly omitted: Readonly<Record<string, number>> };
  readonly ageMs: number | null;
  readonly stale: boolean;
  readonly staleReason: string | null;
}

/** All times are on the page's monotonic clock. */
export interface Feed {
  readonly phase: FeedPhase;
  /** One line; null while all is well. */
  readonly error: string | null;
  /** When the roll was read or the stream of its events was heard last, a heartbeat counts; null: never. */
  readonly heardAtMs: number | null;
  readonly self: SelfJson | null;
  /** When `self` arrived. */
  readonly selfAtMs: number;
  /** The agent's wall clock minus the page's. */
  readonly clockOffsetMs: number;
  /** The last that could be read; null: none yet. */
  readonly drains: readonly DrainJson[] | null;
  readonly drainsAtMs: number;
  /** How many there are, which may be more than `drains` has. */
  readonly draining: number;
  /** Why they could not be read since; null: they could. */
  readonly drainsError: string | null;
  /** The last that could be read; null: none yet. */
  readonly audit: AuditJson | null;
  readonly auditAtMs: number;
  /** Why it could not be read since; null: it could, or was not asked for yet. */
  readonly auditError: string | null;
}

export const LOADING: Feed = {
  phase: 'loading',
  error: null,
  heardAtMs: null,
  self: null,
  selfAtMs: 0,
  clockOffsetMs: 0,
  drains: null,
  drainsAtMs: 0,
  draining: 0,
  drainsError: null,
  audit: null,
  auditAtMs: 0,
  auditError: null,
};

interface FeedDeps extends AskDeps {
  readonly roll: BoardRoll;
  /** That of `createPageClock`. */
  readonly monotonicMs: () => number;
  readonly random: () => number;
  /** True while the page cannot be seen. */
  readonly isHidden: () => boolean;
  /** Resolves at the next change of `isHidden`, and when `signal` aborts. */
  readonly hiddenChanges: (signal: AbortSignal) => Promise<void>;
  /** Called after each change of the feed or the roll. */
  readonly onChange: (feed: Feed) => void;
}

/** A live stream has a heartbeat each 10 s; one that is late by less is not silent. */
const QUIET_MS = 12_000;
/** A stream that is silent for so long is given up. */
const SILENCE_MS = 25_000;
const ANSWER_MS = 20_000;
/** While the agent answers and sends no events, the roll is read whole this often at most. */
const REREAD_MS = 20_000;
const POLL = { everyMs: 2_000, slowEvery: 5, answerMs: 4_000 };
const BACKOFF = { firstMs: 500, maxMs: 8_000 };
const MAX_EVENT_CHARS = 64 * 1024 * 1024;

/**
 * How old the roll of the page may be: as old as that of its agent, or as long as the page has heard nothing of it. null:
 * the page has none.
 */
export function pageAgeMs({ phase, heardAtMs, self, selfAtMs }: Feed, nowMs: number): number | null {
  if (heardAtMs === null) return null;
  const agentAgeMs = self?.roll.ageMs ?? null;
  const silentMs = nowMs - heardAtMs;
  const isHeard = phase === 'live' && silentMs <= QUIET_MS;
  return Math.max(agentAgeMs === null ? 0 : agentAgeMs + nowMs - selfAtMs, isHeard ? 0 : silentMs);
}

/**
 * Now on EC2's clock, for the ages of instants of records, which are by it. @param nowMs by the agent's clock, which stands
 * for EC2's where the agent has not compared them
 */
export function ec2NowMs({ self }: Pick<Feed, 'self'>, nowMs: number): number {
  return nowMs - (self?.record?.clockSkewSeconds ?? 0) * 1_000;
}

/** null: the agent does not know it. */
export function auditAgeMs({ audit, auditAtMs }: Feed, nowMs: number): number | null {
  const ageMs = audit?.ageMs ?? null;
  return ageMs === null ? null : ageMs + nowMs - auditAtMs;
}

/** What the loops of a feed share. */
interface Reading {
  readonly deps: FeedDeps;
  readonly feed: () => Feed;
  readonly update: (change: Partial<Feed>) => void;
  /** The revision after which the stream continues; null: the roll is to be read whole. */
  since: string | null;
}

/**
 * Reads the agent until `signal` aborts or it wants a token: the roll once and then its events, and what has no events by
 * polling. A page that is hidden for long reads nothing; when it is seen again the stream continues where it ended.
 */
export async function runFeed(deps: FeedDeps, signal: AbortSignal): Promise<void> {
  let feed = LOADING;
  const update = (change: Partial<Feed>) => {
    feed = { ...feed, ...change };
    deps.onChange(feed);
  };
  const reading: Reading = { deps, feed: () => feed, update, since: null };
  const isSilent = () => feed.heardAtMs !== null && deps.monotonicMs() - feed.heardAtMs > QUIET_MS;
  while (!signal.aborted) {
    const turn = new AbortController();
    const stop = () => turn.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    const loops = [keepRoll(reading, turn.signal), pollAgent(reading, turn.signal)];
    await Promise.race([...loops, attentionEnds(deps, isSilent, turn.signal)]);
    signal.removeEventListener('abort', stop);
    turn.abort(new Error('the page is hidden, or the computer slept'));
    await Promise.all(loops);
    if (signal.aborted || feed.phase === 'denied') return;
    if (deps.isHidden()) {
      update({ phase: 'paused', error: null });
      await pageIsSeen(deps, signal);
    }
    update({ phase: 'loading', error: null });
  }
}

/** Ends when the agent wants a token. */
async function keepRoll(reading: Reading, signal: AbortSignal): Promise<void> {
  const { deps, feed, update } = reading;
  let failures = 0;
  let isDue = false;
  while (!signal.aborted) {
    let beganAtMs = deps.monotonicMs();
    try {
      if (reading.since === null || isDue) {
        const list = (await readJson(deps, '/v1/containerInstances?presence=all', ANSWER_MS, signal)) as RollJson;
        deps.roll.replace(list);
        reading.since = list.revision;
        update({ heardAtMs: deps.monotonicMs() });
      }
      beganAtMs = deps.monotonicMs();
      for await (const cursor of readStream(deps, reading.since, signal)) {
        reading.since = cursor;
        failures = 0;
        update({ phase: 'live', error: null, heardAtMs: deps.monotonicMs() });
      }
      throw new Error('the agent ended the stream of events');
    } catch (error) {
      if (signal.aborted) return;
      const status = error instanceof AnswerError ? error.status : 0;
      // 400: this revision is not one of the store, which may have been restored from a backup.
      if (status === 400) reading.since = null;
      update({ phase: status === 401 ? 'denied' : 'retrying', error: (error as Error).message });
      if (status === 401) return;
      // Otherwise the page would stand still beside an agent that answers and sends no event, or whose proxy holds them back.
      const heardAtMs = feed().heardAtMs ?? 0;
      const answers = status > 0 || feed().selfAtMs - beganAtMs > ANSWER_MS / 2;
      isDue = answers && heardAtMs <= beganAtMs && deps.monotonicMs() - heardAtMs >= REREAD_MS;
    }
    const pauseMs = Math.min(BACKOFF.maxMs, BACKOFF.firstMs * 2 ** failures) * (0.5 + deps.random() / 2);
    failures += 1;
    await deps.sleep(pauseMs, signal).catch(() => {});
  }
}

/** Applies events as they arrive; yields the cursor after each piece, null while a snapshot is not complete. */
async function* readStream(deps: FeedDeps, since: string, signal: AbortSignal): AsyncGenerator<string | null> {
  const ending = new AbortController();
  const { reader } = await limited(deps, ANSWER_MS, ending, signal, async () => {
    const answer = await deps.get(`/v1/events?since=${since}`, ending.signal);
    if (answer.status !== 200 || !answer.body) throw await answerError(answer);
    return { reader: answer.body.getReader() };
  });
  const parser = createSseParser(MAX_EVENT_CHARS);
  let cursor: string | null = since;
  try {
    for (;;) {
      const { done, value } = await limited(deps, SILENCE_MS, ending, signal, () => reader.read());
      if (done) return;
      for (const { type, data, id } of parser.push(value)) {
        if (data !== null && type !== 'error') deps.roll.apply(JSON.parse(data) as EventJson);
        if (id !== null) cursor = id === '' ? null : id;
      }
      if (cursor !== null) deps.roll.revision = cursor;
      yield cursor;
    }
  } finally {
    ending.abort();
  }
}

/** Ends when the agent wants a token. */
async function pollAgent(reading: Reading, signal: AbortSignal): Promise<void> {
  const { deps, feed, update } = reading;
  let asksAudit = true;
  for (let round = 0; !signal.aborted; round += 1) {
    try {
      const self = (await readJson(deps, '/v1/self', POLL.answerMs, signal, (offsetMs) => {
        update({ clockOffsetMs: offsetMs });
      })) as SelfJson;
      // Another process, perhaps with other flags.
      if (self.session !== feed().self?.session) asksAudit = true;
      deps.roll.uncertainty = self.roll.uncertainty;
      update({ self, selfAtMs: deps.monotonicMs() });
      if (round % POLL.slowEvery === 0) {
        await pollDrains(reading, signal);
        if (asksAudit) asksAudit = await pollAudit(reading, signal);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof AnswerError && error.status === 401)
        return update({ phase: 'denied', error: error.message });
      // While the stream lives, one missed poll is not worth a word: the age of the view goes on counting.
      if (feed().phase !== 'live') update({ error: (error as Error).message });
    }
    await deps.sleep(POLL.everyMs, signal).catch(() => {});
  }
}

async function pollDrains({ deps, update }: Reading, signal: AbortSignal): Promise<void> {
  try {
    const status = (await readJson(deps, '/v1/status', POLL.answerMs, signal)) as StatusJson;
    const { drains, draining, notes } = status;
    if (!drains) throw new Error(notes.find((note) => note.startsWith('drains')) ?? 'the agent does not know them');
    update({ drains, drainsAtMs: deps.monotonicMs(), draining: draining ?? drains.length, drainsError: null });
  } catch (error) {
    if (!signal.aborted) update({ drainsError: (error as Error).message });
  }
}

/** @returns false when this agent takes no part in the continuous audit, which does not change while it runs */
async function pollAudit({ deps, update }: Reading, signal: AbortSignal): Promise<boolean> {
  try {
    const audit = (await readJson(deps, '/v1/audit', POLL.answerMs, signal)) as AuditJson;
    update({ audit, auditAtMs: deps.monotonicMs(), auditError: null });
    return true;
  } catch (error) {
    if (!signal.aborted) update({ auditError: (error as Error).message });
    return !(error instanceof AnswerError && error.status === 404);
  }
}
