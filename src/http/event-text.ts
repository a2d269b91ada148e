import { cloudEvent } from '../record/cloud-event.ts';
import type { RollEvent } from '../record/event.ts';
import type { Clock } from '../timing/clock.ts';

/** Events as they stand in an event stream. @param idLine of the last of them, with its line end; '' for none */
export type EventText = (events: readonly RollEvent[], idLine: string) => Buffer;

/** Batches whose bytes are kept: those that the readers who keep up are reading now. */
const RECENT = 16;

/**
 * Writes each event once, however many read it: with 1,000 readers its JSON would cost more than all else, and next to
 * it a copy for each socket. Its `time` is then that of the first who did. The texts live as long as their events.
 */
export function createEventText(storeId: string, clock: Pick<Clock, 'wallMs'>): EventText {
  const texts = new WeakMap<RollEvent, string>();
  const recent = new Map<readonly RollEvent[], { readonly idLine: string; readonly bytes: Buffer }>();

  function textOf(event: RollEvent): string {
    const known = texts.get(event);
    if (known !== undefined) return known;
    const told = cloudEvent(event, storeId, clock.wallMs());
    // JSON has no line ends of its own, so that the data is one line.
    const text = `event: ${told.type}\ndata: ${JSON.stringify(told)}\n`;
    texts.set(event, text);
    return text;
  }

  return (events, idLine) => {
    const known = recent.get(events);
    if (known?.idLine === idLine) return known.bytes;
    const bytes = Buffer.from(`${events.map(textOf).join('\n')}${idLine}\n`);
    recent.set(events, { idLine, bytes });
    for (const oldest of recent.keys()) {
      if (recent.size <= RECENT) break;
      recent.delete(oldest);
    }
    return bytes;
  };
}
