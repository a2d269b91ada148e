/** A host that is not of EC2, which ECS Anywhere calls an external instance: nothing is asked of EC2. */
export interface ExternalIdentity {
  readonly kind: 'external';
  /** `mi-…`; null: it stands in SSM's registration file. */
  readonly instanceId: string | null;
  readonly registrationFile: string;
  /** IPv4; null: found among the host's own. */
  readonly privateIpAddress: string | null;
}
