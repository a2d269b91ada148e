import { writeSync } from 'node:fs';

interface LogOutputDeps {
  /** Tries again what is left, some time later; must not keep the process alive. */
  readonly later: (tryAgain: () => void) => void;
  /** Called when all that waited is written, with the number of lines that were dropped, if any were. */
  readonly onDropped: (lines: number) => void;
  /** As of `node:fs`. */
  readonly write?: (fd: number, bytes: Uint8Array, offset: number) => number;
}

interface LogOutput {
  /** Never waits: what the reader does not take now is kept, 256 KiB at most; a line beyond that is dropped and counted. */
  write(line: string): void;
  /** Waits up to `limitMs` for the reader to take what is kept. For the end of the process: it blocks. */
  flush(limitMs: number): void;
}

/** Some thousand lines: more than an agent logs while journald or the container runtime starts anew. */
const MAX_KEPT_BYTES = 256 * 1024;
const FLUSH_PAUSE_MS = 10;

/**
 * Lines to a file descriptor that may be a pipe which nothing empties, such as that of a container runtime that hangs: the
 * process goes on. A pipe must not block its writer, which Node sees to for stdout and stderr. What nothing reads any more
 * (EPIPE) is dropped.
 */
export function openLogOutput(fd: number, { later, onDropped, write = writeSync }: LogOutputDeps): LogOutput {
  let kept: Buffer[] = [];
  let keptBytes = 0;
  let dropped = 0;
  let isWaiting = false;

  /** @returns whether nothing is left */
  const writeKept = (): boolean => {
    for (let [first] = kept; first !== undefined; [first] = kept) {
      let taken: number;
      try {
        taken = write(fd, first, 0);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return false;
        taken = first.length;
      }
      keptBytes -= taken;
      if (taken < first.length) kept[0] = first.subarray(taken);
      else kept = kept.slice(1);
    }
    return true;
  };
  const tellDropped = () => {
    const lines = dropped;
    dropped = 0;
    if (lines > 0) onDropped(lines);
  };
  const tryAgain = () => {
    isWaiting = false;
    if (writeKept()) tellDropped();
    else waitForReader();
  };
  const waitForReader = () => {
    if (isWaiting) return;
    isWaiting = true;
    later(tryAgain);
  };

  return {
    write(line) {
      const bytes = Buffer.from(line);
      if (keptBytes + bytes.length > MAX_KEPT_BYTES) {
        dropped += 1;
        return;
      }
      kept.push(bytes);
      keptBytes += bytes.length;
      // While lines wait, the next try is due soon: none for each line.
      if (!isWaiting && !writeKept()) waitForReader();
    },
    flush(limitMs) {
      const pause = new Int32Array(new SharedArrayBuffer(4));
      for (let waitedMs = 0; !writeKept() && waitedMs < limitMs; waitedMs += FLUSH_PAUSE_MS) {
        Atomics.wait(pause, 0, 0, FLUSH_PAUSE_MS);
      }
      if (kept.length === 0) tellDropped();
    },
  };
}
