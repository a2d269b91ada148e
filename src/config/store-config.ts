/** A store URL and the settings that go with it, validated. `label` is for people: it never holds a password. */
export type StoreConfig = EtcdStoreConfig | SqliteStoreConfig | MemoryStoreConfig;

export interface EtcdStoreConfig {
  readonly kind: 'etcd';
  readonly label: string;
  /** Origins such as `https://10.0.0.1:2379`, at least one, all http or all https. */
  readonly endpoints: readonly string[];
  /** Starts with a slash, does not end with one: `/rollcall`. */
  readonly prefix: string;
  readonly tls: EtcdTls | null;
  readonly credentials: { readonly user: string; readonly password: string } | null;
}

/** Paths of PEM files; null where none is given. A certificate and its key come together. */
export interface EtcdTls {
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
}

export interface SqliteStoreConfig {
  readonly kind: 'sqlite';
  readonly label: string;
  readonly path: string;
}

/** One store per name and process. */
export interface MemoryStoreConfig {
  readonly kind: 'memory';
  readonly label: string;
  readonly name: string;
}
