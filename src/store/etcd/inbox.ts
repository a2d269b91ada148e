/** Brings several sources into one order of arrival. Each source puts again only after its last item was taken. */
interface Inbox<T> {
  readonly put: (item: T) => void;
  /** The oldest item; waits for one. Only one taker at a time. */
  take(): Promise<T>;
}

/** Used in place of `Promise.race`, which leaves a reaction behind at the slower promise each time: a leak in a watch of days. */
export function inbox<T>(): Inbox<T> {
  const items: T[] = [];
  let wake = () => {};
  return {
    put: (item) => {
      items.push(item);
      wake();
    },
    take: async () => {
      for (;;) {
        const item = items.shift();
        if (item !== undefined) return item;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
