/** Remembers how to take things back, newest first. */
export interface Cleanup {
  /** Once `run` was called, `undo` is called at once: what was still starting then shall not stay. */
  defer(undo: () => Promise<unknown>): void;
  /** Calls all, even when one of them fails; the first failure is thrown at the end. */
  run(): Promise<void>;
}

export function createCleanup(): Cleanup {
  const undos: (() => Promise<unknown>)[] = [];
  let over = false;
  return {
    defer(undo) {
      if (over) void undo().catch(() => {});
      else undos.push(undo);
    },
    async run() {
      over = true;
      const failures: unknown[] = [];
      for (const undo of undos.splice(0).reverse()) await undo().catch((error: unknown) => failures.push(error));
      if (failures.length > 0) throw failures[0];
    },
  };
}
