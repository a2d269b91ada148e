/** How to reach the ECS API. What is null is found as by any AWS tool: environment, profile, instance role. */
export interface EcsSettings {
  readonly region: string | null;
  readonly profile: string | null;
}
