/** One assignment of a unit file, continuations joined as systemd joins them. */
export interface Setting {
  readonly section: string;
  readonly name: string;
  readonly value: string;
}

/** What fleet 0.11 or 1.0, or systemd, would silently take otherwise than it is written; empty for a good unit. */
export function fleetFaults(text: string): string[] {
  const faults: string[] = [];
  if (text.includes('\r')) faults.push('a carriage return: continuations break');
  if (!text.endsWith('\n')) faults.push('no newline at the end');
  // Re-serialised text of another encoding is not worth finding out about.
  if (/[^\t\n\x20-\x7e\r]/.test(text)) faults.push('a character that is not ASCII');
  const lines = text.split('\n');
  lines.forEach((line, index) => {
    const where = `line ${index + 1}`;
    const comment = /^\s*[#;]/.test(line);
    const continues = index > 0 && lines[index - 1]?.endsWith('\\') === true;
    if (Buffer.byteLength(line) > 2_048) faults.push(`${where}: over 2048 bytes, which fleet 1.0 cuts`);
    if (/\\[ \t]+$/.test(line)) faults.push(`${where}: a space after the backslash ends the continuation`);
    if (comment && line.endsWith('\\')) faults.push(`${where}: a comment that swallows the next line`);
    if (comment && continues) faults.push(`${where}: a comment inside a continuation`);
    if (/^\s*\[x-fleet\]/i.test(line) && line.trim() !== '[X-Fleet]') faults.push(`${where}: only [X-Fleet] is seen`);
  });
  for (const { section, name, value } of settings(text)) {
    // fleet 0.11 joins continuations, and hands them to hosts that may cut.
    if (Buffer.byteLength(`${name}=${value}`) > 2_048) faults.push(`${name}: over 2048 bytes when joined`);
    if (section === 'X-Fleet' && !/^(Global|MachineMetadata)$/.test(name))
      faults.push(`${name}: not for a global unit`);
    if (section === 'X-Fleet' && name === 'Global' && value !== 'true')
      faults.push(`Global=${value}: 0.11 takes only true`);
    if (section === 'X-Fleet' && name === 'MachineMetadata' && !/^("[^"=]+=[^"=]+"\s*)+$/.test(value)) {
      faults.push(`MachineMetadata=${value}: one quoted pair a string, anything else runs everywhere`);
    }
  }
  if (settings(text).filter(({ section, name }) => section === 'X-Fleet' && name === 'Global').length !== 1) {
    faults.push('not global: [X-Fleet] has to say Global=true once');
  }
  return faults;
}

export function settings(text: string): Setting[] {
  const found: Setting[] = [];
  let section = '';
  const kept = text.split('\n').filter((line) => !/^\s*[#;]/.test(line));
  for (const line of kept.join('\n').replaceAll('\\\n', ' ').split('\n')) {
    section = /^\[(.+)\]$/.exec(line.trim())?.[1] ?? section;
    const [, name, value] = /^([A-Za-z]+)=(.*)$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) found.push({ section, name, value });
  }
  return found;
}
