import { parseListQuery } from '../http/query.ts';
import { linkSignals, onAbort } from '../lib/abort.ts';
import type { AgentAccess } from '../lib/agent-access.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { quote, RollcallError, UsageError } from '../lib/errors.ts';
import { parseEventKind } from '../record/cloud-event.ts';
import { EVENT_KINDS, type EventKind } from '../record/events.ts';
import { FILTER_NAMES, FilterError, type FilterTexts, parseFilter } from '../record/filter.ts';
import { parseRevision } from '../registry/event-source.ts';
import { DEFAULT_MASS_LOSS, type MassLossLimits } from '../registry/mass-loss.ts';
import { parseStoreUrl, type StoreConfig } from '../store/store-url.ts';
import { openHttpSource } from './agent-source.ts';
import { openStoreSource } from './store-source.ts';
import type {
  ConnectOptions,
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

/** The options as a query of `/v1/containerInstances`. @throws UsageError */
function listQuery(options: ListOptions): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, texts = []] of Object.entries(filterTexts(options)))
    for (const text of texts) query.append(name, text);
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
    kinds: types === undefined ? null : nonEmptyList('types', types).map(eventKind),
    hold,
  };
}

function parseSince(text: string): string {
  const parsed = parseRevision(String(text));
  if (parsed !== undefined) return parsed;
  throw new UsageError(`since ${quote(text)}: expected a store revision, a decimal number such as an event's cursor`);
}

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

const LIST_TIMEOUT_MS = 10_000;

interface ClientDeps {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  readonly signal: AbortSignal | undefined;
}

/** The client of any source: adds validation, deadlines and closing to `list()` and `watch()`. */
export function createClient(source: RollSource, deps: ClientDeps): RollcallClient {
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

  function watch(options: WatchOptions): RollWatch {
    const request = parseWatchOptions(options);
    const left = new AbortController();
    let cursor = request.since;
    async function* run() {
      using ending = linkSignals(left.signal, life.signal, options.signal);
      const { signal } = ending;
      const onCursor = (next: string | null) => {
        cursor = next;
      };
      try {
        const onRetry = options.onRetry ?? (() => {});
        yield* watchEvents(source, request, { clock, random, signal, onRetry, onCursor });
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
  }

  return {
    async list(options = {}) {
      const query = listQuery(options);
      using ending = linkSignals(life.signal, options.signal);
      const timeoutMs = options.timeoutMs ?? LIST_TIMEOUT_MS;
      return await withDeadline(clock, timeoutMs, ending.signal, `list the roll at ${source.label}`, (signal) =>
        source.list(query, signal),
      );
    },
    watch: (options = {}) => watch(options),
    close() {
      aborting[Symbol.dispose]();
      return end(closed);
    },
  };
}

type Target =
  | { readonly kind: 'agent'; readonly origin: string; readonly access: AgentAccess }
  | { readonly kind: 'store'; readonly config: StoreConfig; readonly massLoss: MassLossLimits | null };

/** @throws UsageError */
function parseTarget(url: string, options: ConnectOptions): Target {
  const { caFile = null, certFile = null, keyFile = null, user = null, password = null, massLoss } = options;
  const { token = null, tokenFile = null } = options;
  const isAgent = /^https?:/i.test(url);
  const foreign = isAgent ? { user, password, massLoss: massLoss ?? null } : { token, tokenFile };
  const given = Object.entries(foreign).find(([, value]) => value !== null);
  if (given) {
    const [right, wrong] = isAgent ? ['a store URL', 'an agent’s URL'] : ['an agent’s URL', 'a store URL'];
    throw new UsageError(`connect to ${shownUrl(url)}: ${given[0]} is for ${right}; remove it for ${wrong}`);
  }
  if ((certFile === null) !== (keyFile === null))
    throw new UsageError('one of certFile and keyFile is missing; set both');
  if (isAgent) {
    if (token !== null && tokenFile !== null) throw new UsageError('token and tokenFile are both set; remove one');
    return { kind: 'agent', origin: parseOrigin(url), access: { caFile, certFile, keyFile, token, tokenFile } };
  }
  if (massLoss) requireLimits(massLoss);
  return {
    kind: 'store',
    config: parseStoreUrl(url, { caFile, certFile, keyFile, user, password }),
    massLoss: massLoss === undefined ? DEFAULT_MASS_LOSS : massLoss,
  };
}

function parseOrigin(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  // Agents have no users. A path or query would be ignored, so it is refused.
  if (parsed && parsed.href === `${parsed.origin}/`) return parsed.origin;
  throw new UsageError(
    `cannot read the agent URL "${shownUrl(url)}": use http://HOST:PORT or https://HOST:PORT, such as http://127.0.0.1:51690`,
  );
}

/** Without what may be a password. */
function shownUrl(url: string): string {
  return url.replace(/\/\/.*@/s, '//***@');
}

function requireLimits({ share, count }: MassLossLimits): void {
  if (!(share >= 0 && share <= 1)) throw new UsageError(`massLoss.share ${share}: expected a share from 0 to 1`);
  if (!Number.isSafeInteger(count) || count < 1)
    throw new UsageError(`massLoss.count ${count}: expected a whole number from 1`);
}

/**
 * A client of the roll at `url`: a store (`etcd://HOST:2379[,HOST…][/PREFIX]`, `etcds://…`, `sqlite:PATH`) or an agent
 * (`http://HOST:PORT`, `https://…`). Both give the same results. An agent uses one watch of the store for all its clients.
 * Connects at the first call. @throws UsageError for an invalid URL or option
 */
export function connect(url: string, options: ConnectOptions = {}): RollcallClient {
  const target = parseTarget(url, options);
  const clock = systemClock;
  const random = Math.random;
  const source =
    target.kind === 'agent'
      ? openHttpSource(target.origin, clock, target.access)
      : openStoreSource(target.config, { clock, random, massLoss: target.massLoss });
  return createClient(source, { clock, random, signal: options.signal });
}
