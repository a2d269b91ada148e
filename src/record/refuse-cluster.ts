/**
 * Why no node of the roll can be in one of these clusters; null: nothing speaks against them. Records have a cluster's
 * name, as ecs-agent tells it, and who filters by an ARN would take the silence for an empty cluster.
 */
export function refuseCluster(names: Iterable<string>): string | null {
  for (const name of names) {
    if (name.startsWith('arn:')) {
      return `cluster ${name.slice(0, 400)}: the roll has clusters by name, which is what stands behind the ARN's "/"`;
    }
  }
  return null;
}
