export function clusterArn(accountId: string, region: string, name: string): string {
  return `arn:aws:ecs:${region}:${accountId}:cluster/${name}`;
}
