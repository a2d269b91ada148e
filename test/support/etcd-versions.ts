import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import { fileURLToPath } from 'node:url';

/** Debian's, as test/store/etcd/prepare unpacks them beside the machine's own. */
export const ETCD_VERSIONS = ['3.3.25', '3.4.23', '3.5.16'] as const;
export type EtcdVersion = (typeof ETCD_VERSIONS)[number];

const UNPACKED = fileURLToPath(new URL('../../node_modules/.cache/etcd', import.meta.url));

/** The program of that version (`etcd`, `etcdctl`); undefined: the one on the PATH. */
export function etcdProgram(name: string, version: EtcdVersion | undefined): string {
  return version === undefined ? name : join(UNPACKED, version, 'usr/bin', name);
}

/**
 * Runs the suite once for each etcd there is, within it one test after the other; the versions at the same time where
 * what is around says so. One that could not be had is a skip by name, which fails with CI=true.
 */
export function describeOnEtcds(
  title: string,
  suite: (version: EtcdVersion) => void,
  versions: readonly EtcdVersion[] = ETCD_VERSIONS,
): void {
  for (const version of versions) {
    const skip = existsSync(etcdProgram('etcd', version))
      ? false
      : `etcd ${version} is not there: run test/store/etcd/prepare`;
    describe(`${title}, etcd ${version}`, { skip, concurrency: 1 }, () => suite(version));
  }
}
