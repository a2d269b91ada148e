/** What it takes to ask the agent of this page. */
export interface AskDeps {
  /** GET of this origin, with the token if there is one. */
  readonly get: (path: string, signal: AbortSignal) => Promise<Response>;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly wallMs: () => number;
}

/** The answer is not 200. */
export class AnswerError extends Error {
  override readonly name = 'AnswerError';
  readonly status: number;
  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

export async function readJson(
  deps: AskDeps,
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

export async function answerError(answer: Response): Promise<AnswerError> {
  const body: unknown = await answer.json().catch(() => null);
  const detail = Object(body).detail;
  return new AnswerError(answer.status, typeof detail === 'string' ? detail : `HTTP ${answer.status}`);
}

/** @throws Error after `limitMs`, or the reason of `signal`; `ending` then aborts, so that the request does not go on */
export async function limited<T>(
  deps: AskDeps,
  limitMs: number,
  ending: AbortController,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  // Its listener would not be called any more.
  signal.throwIfAborted();
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
