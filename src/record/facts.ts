/** What EC2 says of this node. `null`: EC2 has no such thing for this node. A field that could not be read is absent. */
export interface MetadataFacts {
  readonly ec2InstanceId: string;
  readonly privateIpAddress: string | null;
  readonly publicIpAddress: string | null;
  readonly privateDnsName: string | null;
  readonly availabilityZone: string | null;
  readonly region: string | null;
  readonly instanceType: string | null;
  readonly imageId: string | null;
  readonly accountId: string | null;
  /** `on-demand`, `spot` or `scheduled`, as IMDS writes it. */
  readonly instanceLifecycle: string | null;
}

/** What ecs-agent says of itself. */
export interface EcsAgentFacts {
  /** `null` while the agent runs but is not registered: the schema allows it. */
  readonly containerInstanceArn: string | null;
  /** The cluster's name, also where ecs-agent was configured with the cluster's ARN. */
  readonly cluster: string | null;
  readonly agentVersion: string | null;
  readonly agentHash: string | null;
}
