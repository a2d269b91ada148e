/** What was asked, and where: for the message. */
export interface EcsCall {
  /** The IAM action, such as `ecs:ListClusters`. */
  readonly action: string;
  readonly cluster: string | null;
  readonly taskDefinition: string | null;
  readonly profile: string | null;
  /** Null while it is not found. */
  readonly region: string | null;
  /** Null before the first request. */
  readonly endpoint: string | null;
}
