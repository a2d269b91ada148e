/** The board in a browser: the only file of it that touches the page, its clocks and its storage. */
import { render } from 'preact';
import { App } from './app.tsx';
import { createPageClock, pageIsSeen } from './attention.ts';
import { createBoardRoll } from './board-roll.ts';
import { type Feed, LOADING, runFeed } from './feed.ts';
import { createNodeEvents } from './node-history.ts';
import { titleText } from './text.ts';
import { DEFAULT_VIEW, queryOfView, type View, viewOfQuery } from './view.ts';

/** Several events within this time are drawn at once. */
const DRAW_MS = 120;
/** Ages count in seconds. */
const TICK_MS = 1_000;
const TOAST_MS = 2_500;
const TOKEN_KEY = 'rollcall-token';

const root = document.getElementById('board') as HTMLElement;
const monotonicMs = createPageClock(
  () => performance.now(),
  () => Date.now(),
);
let view = viewOfQuery(new URLSearchParams(location.search));
let feed: Feed = LOADING;
let copied: string | null = null;
let drawing: ReturnType<typeof setTimeout> | null = null;
let reading = new AbortController();
const attention = { sleep, monotonicMs, isHidden: () => document.hidden, hiddenChanges };
const asking = { get: askAgent, sleep, wallMs: () => Date.now() };
const nodeEvents = createNodeEvents({
  ...asking,
  isSeen: (signal) => pageIsSeen(attention, signal),
  onChange: draw,
});
const roll = createBoardRoll(nodeEvents.add);
/** Of the roll, when the events of the node were read. */
let readings = 0;

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal.addEventListener('abort', stop, { once: true });
  });
}

function hiddenChanges(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = () => {
      document.removeEventListener('visibilitychange', end);
      signal.removeEventListener('abort', end);
      resolve();
    };
    document.addEventListener('visibilitychange', end);
    signal.addEventListener('abort', end);
  });
}

function token(): string | null {
  return sessionStorage.getItem(TOKEN_KEY);
}

function askAgent(path: string, signal: AbortSignal): Promise<Response> {
  const known = token();
  const headers: Record<string, string> = known === null ? {} : { Authorization: `Bearer ${known}` };
  return fetch(path, { headers, signal, cache: 'no-store' });
}

function start() {
  reading.abort();
  reading = new AbortController();
  const { signal } = reading;
  const deps = {
    ...asking,
    ...attention,
    roll,
    random: Math.random,
    onChange: (next: Feed) => {
      if (signal.aborted) return;
      const isFirst = feed.heardAtMs === null && next.heardAtMs !== null;
      // The agent may have been started again, or its log begun anew.
      const isNew = roll.readings !== readings || (feed.phase !== 'live' && next.phase === 'live');
      readings = roll.readings;
      feed = next;
      if (isNew) nodeEvents.readAgain();
      if (isFirst) drawNow();
      else draw();
    },
  };
  runFeed(deps, signal).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}

/** Soon, and at most once in `DRAW_MS`. */
function draw() {
  drawing ??= setTimeout(drawNow, DRAW_MS);
}

function drawNow() {
  if (drawing !== null) clearTimeout(drawing);
  drawing = null;
  const bad = [...roll.nodes.values()].filter(({ mood }) => mood === 'lost' || mood === 'critical').length;
  nodeEvents.open(view.node, roll.lines);
  document.title = titleText(feed.phase, bad, view.cluster);
  render(
    <App
      feed={feed}
      roll={roll}
      view={view}
      nodeEvents={nodeEvents.shown()}
      monotonicMs={monotonicMs()}
      nowMs={Math.floor((Date.now() + feed.clockOffsetMs) / 1_000) * 1_000}
      origin={location.origin}
      authorized={token() !== null}
      copied={copied}
      onView={show}
      onCopy={(text) => void copy(text)}
      onToken={(text) => {
        sessionStorage.setItem(TOKEN_KEY, text);
        start();
      }}
    />,
    root,
  );
}

function show(next: View, isStep: boolean) {
  view = next;
  const address = `${location.pathname}${queryOfView(view)}`;
  if (isStep) {
    history.pushState(null, '', address);
    window.scrollTo(0, 0);
  } else history.replaceState(null, '', address);
  drawNow();
}

async function copy(text: string) {
  // Only a page from loopback or over HTTPS has the clipboard.
  if (navigator.clipboard) await navigator.clipboard.writeText(text).catch(() => copyBySelection(text));
  else copyBySelection(text);
  copied = text;
  drawNow();
  await sleep(TOAST_MS, new AbortController().signal);
  if (copied === text) copied = null;
  drawNow();
}

function copyBySelection(text: string) {
  const field = document.createElement('textarea');
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand('copy');
  field.remove();
}

window.addEventListener('popstate', () => {
  view = viewOfQuery(new URLSearchParams(location.search));
  drawNow();
});
document.addEventListener('keydown', (event) => {
  const isTyping = event.target instanceof HTMLElement && event.target.matches('input, select, textarea');
  if (event.key === '/' && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    document.getElementById('search')?.focus();
  }
  if (event.key !== 'Escape') return;
  if (isTyping) (event.target as HTMLElement).blur();
  if (view.search !== '' && isTyping) show({ ...view, search: '' }, false);
  else if (view.node !== null) show({ ...view, node: null }, true);
});
document.addEventListener('visibilitychange', draw);
setInterval(() => {
  if (!document.hidden) draw();
}, TICK_MS);
// A link to the page itself would load it anew, and with it the whole roll.
document.addEventListener('click', (event) => {
  const link = event.target instanceof Element ? event.target.closest('a.brand') : null;
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  show(DEFAULT_VIEW, true);
});
// What stands there until this script runs.
root.replaceChildren();
drawNow();
start();
