import { existsSync } from 'node:fs';
import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

/** systemd in a container puts its own below the group it finds itself in: two machines in one would see each other’s units. */
const HIERARCHIES = ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified', '/sys/fs/cgroup'];
const PREFIX = 'rollcall-host-';

/** Makes one group for a machine in each hierarchy that systemd uses, and removes those of test runs that died. */
export async function makeCgroups(name: string): Promise<string[]> {
  const [legacy = '', hybrid = '', unified = ''] = HIERARCHIES;
  const roots = existsSync(legacy) ? [legacy, hybrid].filter((root) => existsSync(root)) : [unified];
  for (const root of roots) {
    for (const entry of await readdir(root)) {
      const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(entry)?.[1];
      if (pid && !existsSync(`/proc/${pid}`)) await removeCgroup(join(root, entry));
    }
  }
  const groups = roots.map((root) => join(root, `${PREFIX}${process.pid}-${name}`));
  for (const group of groups) await mkdir(group, { recursive: true });
  return groups;
}

/** The group with all below it. One that still has a process stays: the next run removes it. */
export async function removeCgroup(group: string): Promise<void> {
  const entries = await readdir(group, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeCgroup(join(group, entry.name));
  await rmdir(group).catch(() => {});
}
