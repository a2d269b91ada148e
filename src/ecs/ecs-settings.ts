/** How to reach the ECS API. What is null is found as by any AWS tool: environment, profile, instance role. */
export interface EcsSettings {
  readonly region: string | null;
  readonly profile: string | null;
  /** At most so many requests a second, the SDK's own retries included. Default: as fast as ECS lets us. */
  readonly requestsPerSecond?: number;
}
