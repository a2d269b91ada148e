/**
 * Region and account of a container instance's ARN, `arn:aws:ecs:us-east-1:123456789012`: one store may hold several of
 * either, and clusters are named alike in them. null where the text says neither.
 */
export function clusterScope(arn: string | null | undefined): string | null {
  return /^arn:[^:]*:ecs:[^:]+:[^:]+(?=:)/.exec(arn ?? '')?.[0] ?? null;
}

/** Two that may be of one cluster of that name: in doubt they are. */
export function mayShareScope(one: string | null, other: string | null): boolean {
  return one === null || other === null || one === other;
}
