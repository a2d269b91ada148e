/** What the scripts need of one node in `rollcall list --all -o json`. */
export interface RollNode {
  readonly ec2InstanceId: string;
  readonly containerInstanceArn: string | null;
  readonly cluster: string | null;
  readonly machineId: string | null;
  readonly privateIpAddress: string | null;
  readonly publicIpAddress: string | null;
  readonly health: { readonly status: string };
  readonly departure: { readonly at: string; readonly cause: string } | null;
  readonly sidecar: { readonly session: string };
  readonly presence: { readonly state: 'present' | 'departed' | 'lost' };
}

export function parseRoll(text: string): RollNode[] {
  return JSON.parse(text).containerInstances;
}
