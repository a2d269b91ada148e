import type { Attribute } from '../ecs/container-instance.ts';

/** The container instance that is written to. */
export interface Target {
  readonly cluster: string;
  readonly arn: string;
}

export type AttributesStep =
  | { readonly action: 'wait'; readonly untilMs: number; readonly reason: string }
  | { readonly action: 'describe'; readonly target: Target; readonly reason: string }
  | {
      readonly action: 'put';
      readonly target: Target;
      readonly attributes: readonly Attribute[];
      readonly reason: string;
    }
  | { readonly action: 'delete'; readonly target: Target; readonly names: readonly string[]; readonly reason: string }
  /** Left, and said so; nothing is written any more. */
  | { readonly action: 'done'; readonly reason: string };
