import type { ContainerInstance } from '../ecs/container-instance.ts';
import type { Roll } from '../record/roll.ts';

/** What an audit has before it. */
export interface BothSides {
  readonly roll: Pick<Roll, 'entries' | 'skipped'>;
  /** Names of the clusters that were enumerated. */
  readonly clusters: readonly string[];
  /** They are all of their region. */
  readonly all: boolean;
  /** Regions and accounts that were asked, as `arnScope` writes them. */
  readonly scopes: ReadonlySet<string>;
  /** Of these clusters, each ARN once. */
  readonly instances: readonly ContainerInstance[];
}
