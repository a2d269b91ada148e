/**
 * A unit file as fleet understands it, one `section<TAB>name=value` a line, so that a file on disk can be held against
 * what `fleetctl cat` prints: fleet drops comments and indentation and writes the rest anew. 0.11 also joins continued
 * lines, with this very spacing, and 1.0 puts the parts of a section together; both are done here.
 */
export function canonicalUnit(text: string): string[] {
  const bySection = new Map<string, string[]>();
  const lines = text.split('\n');
  let section = '';
  for (let index = 0; index < lines.length; index += 1) {
    const line = (lines[index] ?? '').trimStart();
    if (line.startsWith('#') || line.startsWith(';')) {
      // A comment that ends in a backslash swallows the next line, in fleet as in systemd.
      while (/\\ ?$/.test(lines[index] ?? '')) index += 1;
      continue;
    }
    const header = /^\[([^\]]*)\]\s*$/.exec(line)?.[1];
    if (header !== undefined) {
      section = header;
      continue;
    }
    const equals = line.indexOf('=');
    if (equals < 0) continue;
    let value = line.slice(equals + 1);
    while (value.endsWith('\\') && index + 1 < lines.length) {
      index += 1;
      value = `${value.slice(0, -1)} ${lines[index]}`;
    }
    const options = bySection.get(section) ?? [];
    bySection.set(section, options);
    options.push(`${section}\t${line.slice(0, equals).trim()}=${value.trim()}`);
  }
  return [...bySection.values()].flat();
}
