import type { EtcdTls } from '../../config/store-config.ts';

/** What the messages of this store's errors may say of it. No secrets. */
export interface EtcdContext {
  /** null: none was given. */
  readonly user: string | null;
  /** What every key of ours starts with, such as `/rollcall/`. */
  readonly root: string;
  readonly tls: EtcdTls | null;
}
