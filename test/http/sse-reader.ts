import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Told {
  readonly type: string;
  readonly data: string;
  /** A browser's last event id after this event; '' is none. */
  readonly lastEventId: string;
}

export interface SseReader {
  readonly headers: IncomingHttpHeaders;
  /** The received text. */
  text(): string;
  told(): readonly Told[];
  lastEventId(): string;
  /** null: the stream is open; `whole`: it ended correctly; else it was cut off. */
  ended(): 'whole' | 'cut' | null;
  /** Waits until the condition holds; the test's timeout is the limit. */
  until(condition: () => boolean): Promise<void>;
  leave(): void;
}

/** Reads an event stream as a browser's EventSource does (WHATWG HTML, section 9.2.6). */
export async function openSse(t: TestContext, url: string, headers: Record<string, string> = {}): Promise<SseReader> {
  const req = request(url, { agent: false, headers });
  t.after(() => req.destroy());
  req.end();
  const [res] = (await once(req, 'response')) as [IncomingMessage];
  if (res.statusCode !== 200) throw new Error(`status ${res.statusCode}`);
  let text = '';
  let ended: ReturnType<SseReader['ended']> = null;
  res.setEncoding('utf8');
  res.on('data', (chunk: string) => {
    text += chunk;
  });
  res.on('error', () => {});
  res.on('close', () => {
    ended = res.complete ? 'whole' : 'cut';
  });
  return {
    headers: res.headers,
    text: () => text,
    told: () => parseSse(text).told,
    lastEventId: () => parseSse(text).lastEventId,
    ended: () => ended,
    async until(condition) {
      while (!condition()) await sleep(2);
    },
    leave: () => req.destroy(),
  };
}

function parseSse(text: string): { told: Told[]; lastEventId: string } {
  const told: Told[] = [];
  let [type, data, idBuffer, lastEventId] = ['', '', '', ''];
  for (const line of text.split('\n').slice(0, -1)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (line === '') {
      lastEventId = idBuffer;
      if (data !== '') told.push({ type: type || 'message', data: data.slice(0, -1), lastEventId });
      [type, data] = ['', ''];
    } else if (field === 'event') type = value ?? '';
    else if (field === 'data') data += `${value}\n`;
    else if (field === 'id') idBuffer = value ?? '';
  }
  return { told, lastEventId };
}
