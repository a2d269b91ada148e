import type { Logger } from 'pino';
import type { Audit } from '../audit/standing/run-auditor.ts';
import type { Probe } from '../checks/probe.ts';
import type { EcsApi } from '../ecs/ecs-api.ts';
import type { EcsSettings } from '../ecs/ecs-settings.ts';
import type { NotifyChannel } from '../lifecycle/run-notifier.ts';
import type { Store } from '../store/store.ts';
import type { Cell } from '../timing/cell.ts';
import type { Clock } from '../timing/clock.ts';

/** What an agent works with. Whoever gives it also takes it away again. */
export interface AgentDependencies {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly version: string;
  readonly session: string;
  /** Set to true once, when the agent is to say goodbye and end. */
  readonly leaving: Cell<boolean>;
  /** The operator's own and those of the node's parts; whoever opened them closes them. */
  readonly probes: readonly Probe[];
  /** null where no service manager wants to be told. */
  readonly notify: NotifyChannel | null;
  /** Of the whole fleet, should this agent lead. Default: store against the ECS API. */
  readonly audit?: Audit;
  /** Called only where a flag asks for something of ECS. */
  readonly openEcs: (settings: EcsSettings) => Promise<EcsApi>;
}
