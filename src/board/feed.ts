import type { AuditReport } from '../audit/audit-report.ts';
import { createSseParser } from '../client/sse.ts';
import type { Uncertainty } from '../record/events.ts';
import type { BoardRoll, EventJson, RollJson } from './board-roll.ts';

/**
 * - `loading`: nothing was read yet. - `live`: events arrive as they happen. - `retrying`: the agent does not answer, or
 * does not know the roll; `error` says why. - `denied`: it wants a token, or another one.
 */
type FeedPhase = 'loading' | 'live' | 'retrying' | 'denied';

/** What of `/v1/self` the page shows. */
interface SelfJson {
  readonly version: string;
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

export interface AuditJson {
  readonly report: AuditReport;
  readonly ageMs: number | null;
  readonly stale: boolean;
  readonly staleReason: string | null;
}

export interface Feed {
  readonly phase: FeedPhase;
  /** One line; null while all is well. */
  readonly error: string | null;
  readonly self: SelfJson | null;
  /** When `self` arrived, on the page's monotonic clock. */
  readonly selfAtMs: number;
  /** The agent's wall clock minus the page's. */
  readonly clockOffsetMs: number;
  readonly drains: readonly DrainJson[] | null;
  readonly audit: AuditJson | null;
  /** Why there is no audit; null: it is not asked yet, or there is one. */
  readonly auditError: string | null;
}

export const LOADING: Feed = {
  phase: 'loading',
  error: null,
  self: null,
  selfAtMs: 0,
  clockOffsetMs: 0,
  drains: null,
  audit: null,
  auditError: null,
};

interface FeedDeps {
  readonly roll: BoardRoll;
  /** GET of this origin, with the token if there is one. */
  readonly get: (path: string, signal: AbortSignal) => Promise<Response>;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly monotonicMs: () => number;
  readonly wallMs: () => number;
  readonly random: () => number;
  /** True while the page cannot be seen. */
  readonly isHidden: () => boolean;
  /** Called after each change of the feed or the roll. */
  readonly onChange: (feed: Feed) => void;
}

/** The answer is not 200. */
class AnswerError extends Error {
  override readonly name = 'AnswerError';
  readonly status: number;
  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

/** Heartbeats come every 10 s. */
const SILENCE_MS = 25_000;
const ANSWER_MS = 20_000;
const POLL = { shownMs: 2_000, hiddenMs: 15_000, slowEvery: 5, answerMs: 4_000 };
const BACKOFF = { firstMs: 500, maxMs: 8_000 };
const MAX_EVENT_CHARS = 64 * 1024 * 1024;

/** Reads the agent until `signal` aborts: the roll once and then its events, and what has no events by polling. */
export async function runFeed(deps: FeedDeps, signal: AbortSignal): Promise<void> {
  let feed = LOADING;
  const update = (change: Partial<Feed>) => {
    feed = { ...feed, ...change };
    deps.onChange(feed);
  };
  await Promise.all([keepRoll(deps, update, signal), pollAgent(deps, () => feed, update, signal)]);
}

type Update = (change: Partial<Feed>) => void;

async function keepRoll(deps: FeedDeps, update: Update, signal: AbortSignal): Promise<void> {
  // The revision after which the stream continues; null: the roll is to be read whole.
  let since: string | null = null;
  let failures = 0;
  while (!signal.aborted) {
    try {
      if (since === null) {
        const list = (await readJson(deps, '/v1/containerInstances?presence=all', ANSWER_MS, signal)) as RollJson;
        deps.roll.replace(list);
        since = list.revision;
        update({ phase: 'live', error: null });
      }
      for await (const cursor of readStream(deps, since, update, signal)) {
        since = cursor;
        failures = 0;
      }
      throw new Error('the agent ended the stream of events');
    } catch (error) {
      if (signal.aborted) return;
      const status = error instanceof AnswerError ? error.status : 0;
      // 400: this revision is not one of the store, which may have been restored from a backup.
      if (status === 400) since = null;
      update({ phase: status === 401 ? 'denied' : 'retrying', error: (error as Error).message });
      if (status === 401) return;
    }
    const pauseMs = Math.min(BACKOFF.maxMs, BACKOFF.firstMs * 2 ** failures) * (0.5 + deps.random() / 2);
    failures += 1;
    await deps.sleep(pauseMs, signal).catch(() => {});
  }
}

/** Applies events as they arrive; yields the cursor after each piece, null while a snapshot is not complete. */
async function* readStream(
  deps: FeedDeps,
  since: string,
  update: Update,
  signal: AbortSignal,
): AsyncGenerator<string | null> {
  const ending = new AbortController();
  const { reader } = await limited(deps, ANSWER_MS, ending, signal, async () => {
    const answer = await deps.get(`/v1/events?since=${since}`, ending.signal);
    if (answer.status !== 200 || !answer.body) throw await answerError(answer);
    return { reader: answer.body.getReader() };
  });
  const parser = createSseParser(MAX_EVENT_CHARS);
  let cursor: string | null = since;
  update({ phase: 'live', error: null });
  try {
    for (;;) {
      const { done, value } = await limited(deps, SILENCE_MS, ending, signal, () => reader.read());
      if (done) return;
      for (const { type, data, id } of parser.push(value)) {
        if (data !== null && type !== 'error') deps.roll.apply(JSON.parse(data) as EventJson);
        if (id !== null) cursor = id === '' ? null : id;
      }
      if (cursor !== null) deps.roll.revision = cursor;
      update({});
      yield cursor;
    }
  } finally {
    ending.abort();
  }
}

async function pollAgent(deps: FeedDeps, feed: () => Feed, update: Update, signal: AbortSignal): Promise<void> {
  let asksAudit = true;
  for (let round = 0; !signal.aborted; round += 1) {
    try {
      const self = (await readJson(deps, '/v1/self', POLL.answerMs, signal, (offsetMs) => {
        update({ clockOffsetMs: offsetMs });
      })) as SelfJson;
      deps.roll.uncertainty = self.roll.uncertainty;
      update({ self, selfAtMs: deps.monotonicMs() });
      if (round % POLL.slowEvery === 0) asksAudit = await pollSlowly(deps, asksAudit, update, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof AnswerError && error.status === 401)
        return update({ phase: 'denied', error: error.message });
      // While the stream lives, one missed poll is not worth a word: the age of the view goes on counting.
      if (feed().phase !== 'live') update({ error: (error as Error).message });
    }
    await deps.sleep(deps.isHidden() ? POLL.hiddenMs : POLL.shownMs, signal).catch(() => {});
    if (feed().phase === 'denied') return;
  }
}

/** @returns false when this agent takes no part in the continuous audit, which does not change while it runs */
async function pollSlowly(deps: FeedDeps, asksAudit: boolean, update: Update, signal: AbortSignal): Promise<boolean> {
  const status = (await readJson(deps, '/v1/status', POLL.answerMs, signal).catch(() => null)) as {
    drains: readonly DrainJson[] | null;
  } | null;
  if (status?.drains) update({ drains: status.drains });
  if (!asksAudit) return false;
  try {
    const audit = (await readJson(deps, '/v1/audit', POLL.answerMs, signal)) as AuditJson;
    update({ audit, auditError: null });
    return true;
  } catch (error) {
    update({ auditError: (error as Error).message });
    return !(error instanceof AnswerError && error.status === 404);
  }
}

async function readJson(
  deps: FeedDeps,
  path: string,
  limitMs: number,
  signal: AbortSignal,
  onClock: (offsetMs: number) => void = () => {},
): Promise<unknown> {
  const ending = new AbortController();
  return limited(deps, limitMs, ending, signal, async () => {
    const answer = await deps.get(path, ending.signal);
    // In whole seconds, which is enough for ages in seconds.
    const agentMs = Date.parse(answer.headers.get('date') ?? '');
    if (!Number.isNaN(agentMs)) onClock(agentMs - deps.wallMs());
    if (answer.status !== 200) throw await answerError(answer);
    return answer.json();
  });
}

async function answerError(answer: Response): Promise<AnswerError> {
  const body: unknown = await answer.json().catch(() => null);
  const detail = Object(body).detail;
  return new AnswerError(answer.status, typeof detail === 'string' ? detail : `HTTP ${answer.status}`);
}

/** @throws Error after `limitMs`; `ending` then aborts, so that the request does not go on */
async function limited<T>(
  deps: FeedDeps,
  limitMs: number,
  ending: AbortController,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const timer = new AbortController();
  const stop = () => ending.abort(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  const late = deps.sleep(limitMs, timer.signal).then(
    () => {
      const error = new Error(`this agent has not answered for ${limitMs / 1_000} s`);
      ending.abort(error);
      throw error;
    },
    () => new Promise<never>(() => {}),
  );
  try {
    return await Promise.race([work(), late]);
  } catch (error) {
    // A browser's own words for a refused connection help little.
    if (error instanceof TypeError) throw new Error('this agent does not answer', { cause: error });
    throw error;
  } finally {
    timer.abort();
    signal.removeEventListener('abort', stop);
  }
}
