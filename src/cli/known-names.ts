import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { clusterName } from '../record/cluster-name.ts';
import { INSTANCE_ID } from '../record/codec.ts';
import type { RollEntry } from '../record/roll.ts';
import type { NodeSummary } from '../record/summary.ts';
import type { CliContext } from './context.ts';

/** Names of the last answer that a shell may complete. Only what a shell cannot mistake for anything else. */
export interface KnownNames {
  readonly instances: readonly string[];
  readonly clusters: readonly string[];
  readonly zones: readonly string[];
}

const NONE: KnownNames = { instances: [], clusters: [], zones: [] };
const MAX_INSTANCES = 5_000;
const MAX_OTHERS = 500;
/** 5,000 ids are 115 kB. */
const MAX_BYTES = 512 * 1024;
const ZONE = /^[a-z0-9-]{1,64}$/;

/**
 * Keeps the names of a roll for the completion of the shell, in `$XDG_CACHE_HOME/rollcall/names.json`. Only where stdout is
 * a terminal, so that a script or a unit leaves nothing behind. A cache that cannot be written is no failure.
 */
export function keepNames({ env, terminal, random }: CliContext, entries: readonly RollEntry<NodeSummary>[]): void {
  const folder = terminal === undefined ? null : cacheFolder(env);
  if (folder === null) return;
  const records = entries.map(({ record }) => record);
  const names = safeNames({
    instances: records.map(({ ec2InstanceId }) => ec2InstanceId),
    clusters: records.map(({ cluster }) => cluster),
    zones: records.map(({ availabilityZone }) => availabilityZone),
  });
  // A new file for each process: two commands at once do not write into each other's.
  const next = join(folder, `.names.${Math.floor(random() * 2 ** 32)}`);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch {
    return;
  }
  try {
    writeFileSync(next, JSON.stringify(names), { mode: 0o600, flag: 'wx' });
    renameSync(next, join(folder, 'names.json'));
  } catch {
    rmSync(next, { force: true });
  }
}

/** What was kept; nothing where there is no such file, or it is not one of ours. */
export function readNames(env: CliContext['env']): KnownNames {
  const folder = cacheFolder(env);
  if (folder === null) return NONE;
  const path = join(folder, 'names.json');
  try {
    const stats = statSync(path);
    if (!stats.isFile() || stats.size > MAX_BYTES) return NONE;
    const { instances, clusters, zones } = Object(JSON.parse(readFileSync(path, 'utf8')));
    return safeNames({ instances, clusters, zones });
  } catch {
    return NONE;
  }
}

function safeNames(given: Readonly<Record<keyof KnownNames, unknown>>): KnownNames {
  const pick = (list: unknown, isSafe: (text: string) => boolean, max: number) => {
    const texts = (Array.isArray(list) ? list : []).filter((item) => typeof item === 'string' && isSafe(item));
    return [...new Set<string>(texts)].sort().slice(0, max);
  };
  return {
    instances: pick(given.instances, (text) => INSTANCE_ID.test(text), MAX_INSTANCES),
    clusters: pick(given.clusters, (text) => clusterName(text) === text, MAX_OTHERS),
    zones: pick(given.zones, (text) => ZONE.test(text), MAX_OTHERS),
  };
}

/** https://specifications.freedesktop.org/basedir-spec/latest/: a relative path there is to be ignored. */
function cacheFolder(env: CliContext['env']): string | null {
  const { XDG_CACHE_HOME: cache = '', HOME: home = '' } = env;
  if (cache.startsWith('/')) return join(cache, 'rollcall');
  return home.startsWith('/') ? join(home, '.cache', 'rollcall') : null;
}
