import { accessSync, constants, readFileSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { describeError, RollcallError, UsageError } from '../../lib/errors.ts';
import { lockFile } from '../../lib/lock-file.ts';
import { replaceFile } from '../../lib/replace-file.ts';
import { type DnsNames, instanceIdsOf, MADE_BY } from './dns-names.ts';

/** Makes the text of the file. @param last the text that the file has; '' where there is none */
export type RenderDns = (names: DnsNames, last: string) => string;

/** `kept`: the file has names, and no node would be in the new one. */
type DnsWrite = 'written' | 'unchanged' | 'kept';

/** A file of names, locked by this process until `release`. */
export interface DnsFile {
  /** Whether the file had names when it was opened. */
  readonly hadNames: boolean;
  /** The nodes that the file names. */
  instanceIds(): readonly string[];
  /**
   * Replaces the file where its names change, or where it was changed or deleted meanwhile, atomically. A file with names is
   * never replaced by one without.
   * @throws RollcallError when the file cannot be written; UsageError when it is another program's now
   */
  update(names: DnsNames): Promise<DnsWrite>;
  release(): void;
}

/** The mode of a new file: a name server of another user reads it. */
const READABLE = 0o644;

/** 100,000 nodes with some names each. */
const MAX_BYTES = 64 * 1024 * 1024;

/**
 * Locks and reads the file, if it exists, and checks that it can be replaced.
 * @throws UsageError for a file that `rollcall dns` has not made; RollcallError if another process holds the lock
 */
export async function openDnsFile(given: string, render: RenderDns): Promise<DnsFile> {
  const refuse = (cause: string) => new UsageError(`file ${given}: ${cause}`);
  const attempt = async <T>(action: () => T | Promise<T>): Promise<T> => {
    try {
      return await action();
    } catch (error) {
      throw refuse(`${describeError(error)}; use a file in an existing, writable folder`);
    }
  };
  const path = await attempt(() => replaceable(given));
  const release = await attempt(() => lockFile(`${path}.lock`));
  if (release === null) throw new RollcallError(`file ${given}: another rollcall dns keeps it current`);
  try {
    const readOwn = async () => {
      const text = await attempt(() => {
        replaceable(path);
        return statSync(path, { throwIfNoEntry: false }) ? readFileSync(path, 'utf8') : '';
      });
      if (text === '' || (text.split('\n', 1)[0] ?? '').endsWith(MADE_BY)) return text;
      throw refuse('it was not made by rollcall dns; remove it, or name another file');
    };
    // Before it is read: what changes meanwhile is seen later.
    let stamp = stampAt(path);
    let last = await readOwn();
    const nameless = render({ nodes: [], leftOut: [] }, last);
    return {
      hadNames: last !== '' && last !== nameless,
      instanceIds: () => instanceIdsOf(last),
      async update(names) {
        const hasNames = last !== '' && last !== render({ nodes: [], leftOut: [] }, last);
        if (names.nodes.length === 0 && hasNames) return 'kept';
        const text = render(names, last);
        const isAsWritten = stamp !== null && stampAt(path) === stamp;
        if (text === last && isAsWritten) return 'unchanged';
        if (!isAsWritten) await readOwn();
        try {
          stamp = stampOf(await replaceFile(path, text, READABLE));
        } catch (error) {
          throw new RollcallError(`cannot write ${given}: ${describeError(error)}`);
        }
        last = text;
        return 'written';
      },
      release,
    };
  } catch (error) {
    release();
    throw error;
  }
}

/** Another one after each change of the file; null: there is none. */
function stampAt(path: string): string | null {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats === undefined ? null : stampOf(stats);
}

const stampOf = ({ ino, size, mtimeMs }: Stats): string => `${ino} ${size} ${mtimeMs}`;

/** A symbolic link is resolved, so that the link itself is not replaced. */
function replaceable(given: string): string {
  const stats = statSync(given, { throwIfNoEntry: false });
  if (stats && !stats.isFile()) throw new Error('it is not a file');
  if (stats && stats.size > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES} bytes`);
  const path = stats ? realpathSync(given) : given;
  accessSync(dirname(path), constants.W_OK);
  return path;
}
