import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The file that the program name starts: `name` itself if it has a slash, otherwise the first executable file of that name
 * on the path; null: none.
 * @param pathVariable the value of PATH
 */
export function findProgram(name: string, pathVariable: string | undefined): string | null {
  if (name === '') return null;
  if (name.includes('/')) return isExecutable(name) ? name : null;
  // An empty entry means the current directory to a shell, which is never intended in a unit's PATH.
  const folders = (pathVariable ?? '').split(':').filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, name)).find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
