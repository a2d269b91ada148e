import { type EtcdOptions, type EtcdServer, freeMemberPorts, type MemberPorts, startEtcd } from './etcd-server.ts';

export interface EtcdCluster {
  /** Of all members, in their order. */
  readonly endpoints: string[];
  readonly members: readonly EtcdServer[];
  /** The member that leads now; waits for one to be elected. */
  leader(): Promise<EtcdServer>;
  dispose(): Promise<void>;
}

/** Starts that many members on loopback (three, for a cluster that survives the loss of one) and waits until all are healthy. */
export async function startEtcdCluster(size: number, options: Omit<EtcdOptions, 'member'> = {}): Promise<EtcdCluster> {
  const ports: MemberPorts[] = [];
  for (let index = 0; index < size; index += 1) ports.push(await freeMemberPorts());
  const initialCluster = ports.map(({ peer }, index) => `m${index}=http://127.0.0.1:${peer}`).join(',');
  const starts = await Promise.allSettled(
    ports.map((memberPorts, index) =>
      startEtcd({ ...options, member: { name: `m${index}`, ports: memberPorts, initialCluster } }),
    ),
  );
  const members = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []));
  const dispose = async () => {
    await Promise.all(members.map((member) => member.dispose()));
  };
  const failed = starts.find((start) => start.status === 'rejected');
  if (failed) {
    await dispose();
    throw failed.reason;
  }
  return { endpoints: members.map((member) => member.clientUrl), members, leader: () => findLeader(members), dispose };
}

async function findLeader(members: readonly EtcdServer[]): Promise<EtcdServer> {
  const giveUpMs = performance.now() + 60_000;
  while (performance.now() < giveUpMs) {
    for (const member of members) {
      // A member that is stopped has no metrics.
      if ((await member.metric('etcd_server_is_leader').catch(() => 0)) === 1) return member;
    }
  }
  throw new Error('the etcd cluster elected no leader within 60 s');
}
