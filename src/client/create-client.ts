import { parseListQuery } from '../http/query.ts';
import { linkSignals, onAbort } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { quote, RollcallError, UsageError } from '../lib/errors.ts';
import { parseEventKind } from '../record/cloud-event.ts';
import { EVENT_KINDS, type EventKind } from '../record/events.ts';
import { FILTER_NAMES, FilterError, type FilterTexts, parseFilter } from '../record/filter.ts';
import { parseRevision } from '../registry/event-source.ts';
import type {
  CallOptions,
  FilterOptions,
  ListOptions,
  RollcallClient,
  RollSource,
  RollWatch,
  StreamRequest,
  WatchOptions,
} from './types.ts';
import { watchEvents } from './watch.ts';

/** The filters as texts. @throws UsageError */
function filterTexts(options: FilterOptions): FilterTexts {
  const given = FILTER_NAMES.filter((name) => options[name] !== undefined);
  const texts: FilterTexts = Object.fromEntries(given.map((name) => [name, [options[name]].flat()]));
  try {
    parseFilter(texts);
    return texts;
  } catch (error) {
    if (error instanceof FilterError) throw new UsageError(error.message);
    throw error;
  }
}

/** The filters as a query. @throws UsageError */
export function filterQuery(options: FilterOptions): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, texts = []] of Object.entries(filterTexts(options)))
    for (const text of texts) query.append(name, text);
  return query;
}

/** The options as a query of `/v1/containerInstances`. @throws UsageError */
function listQuery(options: ListOptions): URLSearchParams {
  const query = filterQuery(options);
  const { limit, after = null } = options;
  if (limit !== undefined) query.set('limit', String(limit));
  if (after !== null) query.set('after', after);
  const parsed = parseListQuery(query);
  if (!parsed.ok) throw new UsageError(parsed.detail);
  return query;
}

/** @throws UsageError with the value and what is allowed */
function parseWatchOptions(options: WatchOptions): StreamRequest {
  const { since = null, types, hold = true } = options;
  return {
    since: since === null ? null : parseSince(since),
    nodes: filterTexts(options),
    kinds: types === undefined ? null : nonEmptyList('types', [types].flat().flatMap(splitCommas)).map(eventKind),
    hold,
  };
}

function parseSince(text: string): string {
  const parsed = parseRevision(String(text));
  if (parsed !== undefined) return parsed;
  throw new UsageError(`since ${quote(text)}: expected a store revision, a decimal number such as an event's cursor`);
}

const splitCommas = (text: string) => String(text).split(',');

function eventKind(text: string): EventKind {
  const kind = parseEventKind(text);
  if (kind !== undefined) return kind;
  throw new UsageError(`types ${quote(text)} is not known; allowed: ${EVENT_KINDS.join(', ')}`);
}

/** Refuses an empty list, which would match no node and is usually an unset variable. */
function nonEmptyList<T extends string>(option: string, values: readonly T[]): readonly T[] {
  if (values.length > 0 && values.every((value) => value !== '')) return values;
  throw new UsageError(`${option} is empty; set a value or remove it`);
}

const CALL_TIMEOUT_MS = 10_000;

interface ClientDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  readonly signal: AbortSignal | undefined;
}

/** A client, and the way to make more calls that end with it. */
interface OpenClient extends RollcallClient {
  /**
   * @param options `onOpen` is called each time the source answers, `onCursor` whenever the watch's `cursor` is set: both
   * also where no event comes with it
   */
  watch(
    options?: WatchOptions & { readonly onOpen?: () => void; readonly onCursor?: (cursor: string | null) => void },
  ): RollWatch;
  /** @param action the start of the message of a `DeadlineError` */
  within<T>(action: string, options: CallOptions, call: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

/** The client of any source: adds validation, deadlines and closing to `list()` and `watch()`. */
export function createClient(source: RollSource, deps: ClientDeps): OpenClient {
  const { clock, random } = deps;
  const life = new AbortController();
  /** The abort reason of `close()`. A watch ends without an error for this reason only. */
  const closed = new RollcallError(`the client of ${source.label} is closed`);
  let closing: Promise<void> | null = null;

  const end = (reason: unknown) => {
    life.abort(reason);
    closing ??= source.close();
    return closing;
  };
  const aborting = onAbort(deps.signal, (reason) => {
    end(reason).catch(() => {}); // calls in progress reject with the signal's reason; close() reports this error
  });

  const watch: OpenClient['watch'] = (options = {}) => {
    const request = parseWatchOptions(options);
    const left = new AbortController();
    let cursor = request.since;
    async function* run() {
      using ending = linkSignals(left.signal, life.signal, options.signal);
      const { signal } = ending;
      const onCursor = (next: string | null) => {
        cursor = next;
        options.onCursor?.(next);
      };
      try {
        const { onRetry = () => {}, onSkipped = () => {}, onOpen = () => {} } = options;
        const watching = { clock, random, signal, onRetry, onSkipped, onOpen, onCursor };
        yield* watchEvents(source, request, watching);
      } catch (error) {
        if (signal.reason !== closed) throw error;
      }
    }
    const events = run();
    return {
      get cursor() {
        return cursor;
      },
      next: () => events.next(),
      return() {
        left.abort(closed); // the generator's return would wait for a pending `next`
        return events.return();
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  };

  const within: OpenClient['within'] = async (action, options, call) => {
    using ending = linkSignals(life.signal, options.signal);
    const timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS;
    if (!(timeoutMs > 0)) throw new UsageError(`timeoutMs ${quote(timeoutMs)}: expected milliseconds, more than 0`);
    return await withDeadline(clock, timeoutMs, ending.signal, action, call);
  };

  return {
    within,
    async list(options = {}) {
      const query = listQuery(options);
      return await within(`list the roll at ${source.label}`, options, (signal) => source.list(query, signal));
    },
    watch,
    close() {
      aborting[Symbol.dispose]();
      return end(closed);
    },
  };
}
