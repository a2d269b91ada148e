import type { Logger } from 'pino';
import { runAttributes } from '../attributes/run-attributes.ts';
import type { AgentConfig } from '../config/agent-config.ts';
import { runDrain } from '../drain/run-drain.ts';
import type { EcsApi } from '../ecs/ecs-api.ts';
import type { EcsSettings } from '../ecs/ecs-settings.ts';
import type { AttributesReport, DrainReport } from '../http/agent-report.ts';
import { harmless } from '../lifecycle/harmless.ts';
import type { Task } from '../lifecycle/run-group.ts';
import type { Desired } from '../publisher/publisher-state.ts';
import type { DrainSlots } from '../store/drain-slots.ts';
import type { Cell } from '../timing/cell.ts';
import type { Clock } from '../timing/clock.ts';
import { attributesReport } from './attributes-report.ts';
import { openEcsOnce } from './open-ecs-once.ts';

interface EcsWorkDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly session: string;
  readonly slots: DrainSlots;
  readonly openEcs: (settings: EcsSettings) => Promise<EcsApi>;
  readonly desired: Cell<Desired | null>;
  readonly leaving: Cell<boolean>;
  readonly noticesKnown: () => boolean;
}

/** What this agent changes in ECS, where it was told to. */
export interface EcsWork {
  /** None of them ends before `signal` aborts. */
  readonly loops: readonly Task<never>[];
  drain(): DrainReport | null;
  attributes(): AttributesReport | null;
  /** Resolves once all was said that is to be said in leaving; at once where nothing is. */
  readonly saidGoodbye: Promise<void>;
  close(): Promise<void>;
}

export function createEcsWork(config: AgentConfig, deps: EcsWorkDeps): EcsWork {
  const { clock, random, log, desired, leaving } = deps;
  const ecs = openEcsOnce(config.ecs, deps.openEcs);
  const record = () => desired.get()?.record ?? null;
  const goodbye = Promise.withResolvers<void>();
  const loops: Task<never>[] = [];
  // What ECS is told is never worth the agent.
  const add = (name: string, tell: (reason: string) => void, loop: Task<unknown>) => {
    const onBroken = (reason: string) => {
      tell(reason);
      log.error(`${name}: ${reason}`);
    };
    loops.push(harmless(loop, onBroken));
  };
  const nowText = () => new Date(clock.wallMs()).toISOString();
  let drain: DrainReport | null = null;
  let attributes: AttributesReport | null = null;

  if (config.drain) {
    const drainConfig = config.drain;
    drain = { state: 'idle', reason: 'starting', since: nowText() };
    const tellDrain = (reason: string) => {
      if (drain) drain = { ...drain, reason };
    };
    add('drain', tellDrain, (signal) =>
      runDrain(
        {
          ...{ config: drainConfig, clock, random, log, session: deps.session, slots: deps.slots, ecs: ecs.forArn },
          ...{ record, noticesKnown: deps.noticesKnown, changes: desired, leaving },
          onStep({ phase, reason }) {
            drain = { state: phase, reason, since: drain?.state === phase ? drain.since : nowText() };
          },
        },
        signal,
      ),
    );
  }
  if (config.ecsAttributes) {
    attributes = { state: 'unknown', reason: 'starting', lastWrite: null };
    const tellAttributes = (reason: string) => {
      if (attributes) attributes = { ...attributes, state: 'failing', reason };
    };
    add('ECS attributes', tellAttributes, async (signal) => {
      const onStep = (...now: Parameters<typeof attributesReport>) => {
        attributes = attributesReport(...now);
      };
      const from = { ecs: ecs.forArn, record, changes: [desired], spreadMs: config.presenceTtlMs };
      const options = { clock, random, log, ...from, leaving, onStep };
      try {
        await runAttributes(options, signal);
      } finally {
        goodbye.resolve();
      }
    });
  } else {
    goodbye.resolve();
  }
  return {
    loops,
    drain: () => drain,
    attributes: () => attributes,
    saidGoodbye: goodbye.promise,
    close: ecs.close,
  };
}
