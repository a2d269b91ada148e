import { type EtcdOptions, type EtcdServer, startEtcd } from './etcd-server.ts';

/** The users of an etcd started by `startEtcdWithAuth`. */
export const ETCD_ROOT = { user: 'root', password: 'root-secret' } as const;
/** May read and write below `/rollcall/` and nothing else. */
export const ETCD_LIMITED = { user: 'node', password: 'node-secret' } as const;

/** An etcd that demands user and password. Its `etcdctl` acts as root. */
export async function startEtcdWithAuth(options: EtcdOptions = {}): Promise<EtcdServer> {
  const asRoot = `--user=${ETCD_ROOT.user}:${ETCD_ROOT.password}`;
  const server = await startEtcd(options);
  await server.etcdctl('user', 'add', `${ETCD_ROOT.user}:${ETCD_ROOT.password}`);
  await server.etcdctl('user', 'grant-role', ETCD_ROOT.user, 'root');
  await server.etcdctl('role', 'add', 'node');
  await server.etcdctl('role', 'grant-permission', '--prefix', 'node', 'readwrite', '/rollcall/');
  await server.etcdctl('user', 'add', `${ETCD_LIMITED.user}:${ETCD_LIMITED.password}`);
  await server.etcdctl('user', 'grant-role', ETCD_LIMITED.user, 'node');
  await server.etcdctl('auth', 'enable');
  return withGetters(server, (...args) => server.etcdctl(asRoot, ...args));
}

/** The same server with another `etcdctl`; a spread would freeze `pid` at its value of now. */
function withGetters(server: EtcdServer, etcdctl: EtcdServer['etcdctl']): EtcdServer {
  return Object.create(server, { etcdctl: { value: etcdctl } }) as EtcdServer;
}
