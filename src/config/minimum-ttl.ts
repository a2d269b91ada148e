import type { StoreConfig } from './store-config.ts';

/**
 * The shortest presence TTL a store keeps as asked. etcd's is one and a half election timeouts (1 s by default), in
 * whole seconds; it grants no less: https://etcd.io/docs/v3.5/learning/api/#lease-api
 */
export function minimumTtlMs(config: StoreConfig): number {
  return config.kind === 'etcd' ? 2_000 : 1_000;
}
