import { open, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/**
 * Replaces a file atomically: a reader finds the old or the new content, also after a power cut. Only one process may
 * write it. @throws the system's error
 */
export async function replaceFile(path: string, text: string): Promise<void> {
  const folder = dirname(path);
  // A fixed name, because there is one writer. A file left by a crash is overwritten.
  const next = join(folder, `.${basename(path)}.next`);
  const file = await open(next, 'w', 0o644);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(next, path);
  const entries = await open(folder, 'r');
  try {
    await entries.sync(); // so that the rename survives a power cut
  } finally {
    await entries.close();
  }
}
