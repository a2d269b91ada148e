import { openStore } from '../../src/store/open-store.ts';
import type { Store } from '../../src/store/store.ts';
import { parseStoreUrl } from '../../src/store/store-url.ts';
import { type EtcdServer, startEtcd } from '../../test/support/etcd-server.ts';
import type { BenchContext } from '../benchmark.ts';

export interface BenchEtcd {
  readonly server: EtcdServer;
  /** For `--store`. */
  readonly url: string;
  /** A reader and writer of our own on it, below `prefix`. */
  open(prefix?: string): Promise<Store>;
}

/** A fresh etcd on loopback with its defaults, fsync included, which the tests' etcd goes without. */
export async function startBenchEtcd({ clock, random, cleanup }: BenchContext): Promise<BenchEtcd> {
  const server = await startEtcd({ args: ['--unsafe-no-fsync=false'] });
  cleanup.defer(() => server.dispose());
  const url = server.clientUrl.replace('http:', 'etcd:');
  const none = { caFile: null, certFile: null, keyFile: null, user: null, password: null };
  return {
    server,
    url,
    open: async (prefix = '') => {
      const { signal } = new AbortController();
      const store = await openStore(parseStoreUrl(`${url}${prefix}`, none), { clock, random, signal, create: false });
      cleanup.defer(() => store.close());
      return store;
    },
  };
}
