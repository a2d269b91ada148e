import { quote } from './quote.ts';
import { SourceError } from './source-error.ts';

/**
 * 32 lowercase hex digits, or null for a file that systemd has yet to fill (empty, or `uninitialized`):
 * https://www.freedesktop.org/software/systemd/man/latest/machine-id.html
 * @throws SourceError when the text is neither @param path for messages
 */
export function parseMachineId(path: string, text: string): string | null {
  const line = text.replace(/\n$/, '');
  if (line === '' || line === 'uninitialized') return null;
  if (/^[0-9a-f]{32}$/.test(line)) return line;
  throw new SourceError(`machine id in ${path}: expected 32 lowercase hex digits, got ${quote(text)}`);
}
