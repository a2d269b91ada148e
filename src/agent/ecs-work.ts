import type { EcsApi, EcsSettings } from '../ecs/ecs-api.ts';
import { openEcsOnce } from '../ecs/open-ecs-api.ts';
import type { AttributesReport, DrainReport } from '../http/agent-report.ts';
import type { Cell } from '../lib/cell.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { harmless, type Task } from '../lib/run-group.ts';
import type { DrainSlots } from '../store/drain-slots.ts';
import type { AgentConfig } from './agent-config.ts';
import { runAttributes } from './attributes/attributes-run.ts';
import { runDrain } from './drain/drain-run.ts';
import type { Desired } from './publisher/publisher-plan.ts';
import { attributesReport } from './report.ts';

interface EcsWorkDeps {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly session: string;
  readonly slots: DrainSlots;
  readonly openEcs: (settings: EcsSettings) => Promise<EcsApi>;
  readonly desired: Cell<Desired | null>;
  readonly leaving: Cell<boolean>;
  readonly noticesKnown: () => boolean;
}

/** What this agent changes in ECS, where flags ask for it. */
interface EcsWork {
  /** No loop ends before `signal` aborts. */
  readonly loops: readonly Task<never>[];
  drain(): DrainReport | null;
  attributes(): AttributesReport | null;
  /** Resolves once ECS has the attributes of a departed node; at once if nothing is written to ECS. */
  readonly deregistered: Promise<void>;
  close(): Promise<void>;
}

export function createEcsWork(config: AgentConfig, deps: EcsWorkDeps): EcsWork {
  const { clock, random, log, desired, leaving } = deps;
  const ecs = openEcsOnce(config.ecs, deps.openEcs);
  const record = () => desired.get()?.record ?? null;
  const deregistered = Promise.withResolvers<void>();
  const loops: Task<never>[] = [];
  // A defect in a loop that writes to ECS must not end the agent.
  const add = (name: string, showReason: (reason: string) => void, loop: Task<unknown>) => {
    const onBroken = (reason: string) => {
      showReason(reason);
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
    const showDrainReason = (reason: string) => {
      if (drain) drain = { ...drain, reason };
    };
    add('drain', showDrainReason, (signal) =>
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
    const showAttributesReason = (reason: string) => {
      if (attributes) attributes = { ...attributes, state: 'failing', reason };
    };
    add('ECS attributes', showAttributesReason, async (signal) => {
      const onStep = (...now: Parameters<typeof attributesReport>) => {
        attributes = attributesReport(...now);
      };
      const from = { ecs: ecs.forArn, record, changes: [desired], spreadMs: config.presenceTtlMs };
      const options = { clock, random, log, ...from, leaving, onStep };
      try {
        await runAttributes(options, signal);
      } finally {
        deregistered.resolve();
      }
    });
  } else {
    deregistered.resolve();
  }
  return {
    loops,
    drain: () => drain,
    attributes: () => attributes,
    deregistered: deregistered.promise,
    close: ecs.close,
  };
}
