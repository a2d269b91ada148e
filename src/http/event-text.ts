import { cloudEvent } from '../record/cloud-event.ts';
import type { RollEvent } from '../record/event.ts';
import type { Clock } from '../timing/clock.ts';

/** The lines of an event in an event stream, without the empty one that ends it. */
export type EventText = (event: RollEvent) => string;

/**
 * Writes each event once, however many read it: with 1,000 readers its JSON would cost more than all else. Its `time` is
 * then that of the first who did. The texts live as long as their events.
 */
export function createEventText(storeId: string, clock: Pick<Clock, 'wallMs'>): EventText {
  const texts = new WeakMap<RollEvent, string>();
  return (event) => {
    const known = texts.get(event);
    if (known !== undefined) return known;
    const told = cloudEvent(event, storeId, clock.wallMs());
    // JSON has no line ends of its own, so that the data is one line.
    const text = `event: ${told.type}\ndata: ${JSON.stringify(told)}\n`;
    texts.set(event, text);
    return text;
  };
}
