import { INSTANCE_ID } from '../record/codec.ts';
import { AnswerError, type AskDeps, readJson } from './ask.ts';
import { type EventJson, type EventLine, eventLine } from './board-roll.ts';

/** What the page of a node shows of what happened to it. */
export interface NodeEvents {
  readonly id: string;
  /** Newest first, with `earlier` at most `MAX_LINES`. */
  readonly lines: readonly EventLine[];
  /** Those that the page has seen and the log does not have: it was begun anew, or has dropped them. */
  readonly earlier: readonly EventLine[];
  /** The log of the agent when it was last read; null: never. */
  readonly log: AgentLog | null;
  /** Why it could not be read, or not again; null: it could, or is being read. */
  readonly error: string | null;
}

interface AgentLog {
  /** RFC 3339: what happened after this is in it. */
  readonly since: string;
  /** RFC 3339: when the agent began it, at first or anew. */
  readonly begun: string;
  /** How many events of the node are older than the lines. */
  readonly omitted: number;
}

/** What of `/v1/containerInstances/{id}/events` the page shows. */
interface NodeEventsJson {
  readonly events: readonly EventJson[];
  readonly omitted: number;
  readonly since: string;
  readonly begun: string;
}

interface NodeEventsDeps extends AskDeps {
  /** Resolves when the page can be seen: a hidden one asks nothing. */
  readonly isSeen: (signal: AbortSignal) => Promise<void>;
  /** Called when an answer came. */
  readonly onChange: () => void;
}

/** As many as the agent gives at once. */
const MAX_LINES = 100;
const ANSWER_MS = 10_000;
const RETRY_MS = 5_000;

/** The events of the node whose page is shown: those that its agent has kept, and those that come since. */
interface NodeEventsReader {
  /** null: no page of a node is shown. */
  shown(): NodeEvents | null;
  /** The page of this node is shown from now on; null: none. @param lines of all nodes, newest first */
  open(id: string | null, lines: readonly EventLine[]): void;
  /** The agent, or its log, may be another one. */
  readAgain(): void;
  /** An event that has just come. */
  add(line: EventLine): void;
}

export function createNodeEvents(deps: NodeEventsDeps): NodeEventsReader {
  let shown: NodeEvents | null = null;
  let reading = new AbortController();

  async function keepReading(id: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const before = new Set([...(shown?.lines ?? []), ...(shown?.earlier ?? [])]);
      try {
        const path = `/v1/containerInstances/${id}/events?limit=${MAX_LINES}`;
        const answer = (await readJson(deps, path, ANSWER_MS, signal)) as NodeEventsJson;
        if (signal.aborted || shown === null) return;
        shown = merged(shown, before, answer);
        return deps.onChange();
      } catch (error) {
        if (signal.aborted || shown === null) return;
        const status = error instanceof AnswerError ? error.status : 0;
        shown = { ...shown, error: status === 404 ? OLD_AGENT : (error as Error).message };
        deps.onChange();
        // Another version may answer the next time that the page connects; a token is asked for by the page itself.
        if (status === 404 || status === 401) return;
      }
      await deps.sleep(RETRY_MS, signal).catch(() => {}); // aborted: the loop's condition ends it
      await deps.isSeen(signal);
    }
  }

  function readAgain() {
    reading.abort(new Error('the page shows something else'));
    reading = new AbortController();
    if (shown !== null && INSTANCE_ID.test(shown.id)) void keepReading(shown.id, reading.signal);
  }

  return {
    shown: () => shown,
    open(id, lines) {
      if (id === (shown?.id ?? null)) return;
      const own = lines.filter(({ instanceId }) => instanceId === id);
      shown = id === null ? null : { id, lines: own.slice(0, MAX_LINES), earlier: [], log: null, error: null };
      readAgain();
    },
    readAgain,
    add(line) {
      if (line.instanceId !== shown?.id) return;
      // The agent sends an event again where it cannot know that it has arrived.
      if ([...shown.lines, ...shown.earlier].some(({ id }) => id === line.id)) return;
      shown = withinBounds({ ...shown, lines: [line, ...shown.lines] });
    },
  };
}

const OLD_AGENT = 'this agent is of a version that does not tell what happened before';

/** @param before the lines that the page had when it asked: the others came meanwhile, so they are newer than the answer */
function merged(shown: NodeEvents, before: ReadonlySet<EventLine>, answer: NodeEventsJson): NodeEvents {
  const { since, begun, omitted } = answer;
  const told = answer.events.map(eventLine);
  const ids = new Set(told.map(({ id }) => id));
  const newer = shown.lines.filter((line) => !before.has(line) && !ids.has(line.id));
  const others = [...before].filter(({ id }) => !ids.has(id));
  // Where the agent has more than it tells, these may be among them.
  const earlier = omitted > 0 ? [] : others;
  return withinBounds({ ...shown, lines: [...newer, ...told], earlier, log: { since, begun, omitted }, error: null });
}

function withinBounds({ lines, earlier, log, ...rest }: NodeEvents): NodeEvents {
  const excess = Math.max(0, lines.length - MAX_LINES);
  return {
    ...rest,
    lines: lines.slice(0, MAX_LINES),
    earlier: earlier.slice(0, Math.max(0, MAX_LINES - lines.length)),
    log: log && { ...log, omitted: log.omitted + excess },
  };
}
