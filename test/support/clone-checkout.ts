import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const COPY = `git -C "$1" ls-files -z --cached --others --exclude-standard |
  tar -C "$1" --null --ignore-failed-read --files-from=- --create | tar -C "$2" --extract`;

/** Copies the files of this checkout that git has or would have, uncommitted changes included, to the new folder `to`. */
export async function cloneCheckout(to: string): Promise<void> {
  await mkdir(to);
  await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', COPY, 'bash', ROOT, to]);
}

/** A folder for a PATH: the machine's programs, but for those. The test's end removes it. */
export async function toolsWithout(t: TestContext, ...without: readonly string[]): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-tools-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  for (const name of await readdir('/usr/bin')) {
    if (!without.includes(name)) await symlink(`/usr/bin/${name}`, join(dir, name));
  }
  return dir;
}
