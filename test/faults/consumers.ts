import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { RollCloudEvent } from '../../src/client/types.ts';
import type { InstanceJson } from '../../src/record/roll.ts';
import { openSse } from '../http/sse-reader.ts';
import { until } from '../support/machine-time.ts';
import { agentUrl, type Running, startFleet, startRollcall } from '../support/rollcall-process.ts';
import type { SampleWriter } from '../support/sample-writer.ts';
import { createToldRoll, differences, storedRoll, type ToldRoll } from './told-roll.ts';

/** What a test allows on top of a promise for processes that start on a busy machine. */
export const LIMIT_MS = 30_000;

/** A reader outside of this program's processes that follows the roll. */
export interface Consumer {
  readonly name: string;
  events(): readonly RollCloudEvent[];
  roll(): ReadonlyMap<string, InstanceJson>;
  count(type: RollCloudEvent['type']): number;
}

/** Both ways out: a `rollcall watch`, and the event stream of an agent with a simulated node of its own. */
export interface Outside {
  readonly watch: Running;
  readonly agent: Running;
  readonly agentUrl: string;
  /** Of the agent's node. */
  readonly agentId: string;
  readonly consumers: readonly Consumer[];
}

/**
 * Starts them on `store` and waits until each has a snapshot with the agent's node in it.
 * @param hold they hold uncertain losses back
 */
export async function startOutside(t: TestContext, store: string, presenceTtl = '30s', hold = false): Promise<Outside> {
  const fleet = await startFleet(t, 1);
  const [agentId = ''] = fleet.instanceIds;
  const agentArgs = ['agent', '--store', store, '--presence-ttl', presenceTtl, '--listen', '127.0.0.1:0'];
  const agent = startRollcall(t, agentArgs, await fleet.environment(1));
  const url = await agentUrl(agent);
  await until('the agent is registered', LIMIT_MS, async () => (await fetch(`${url}/readyz`)).status === 200);
  const watch = startRollcall(t, ['watch', '--store', store, ...(hold ? ['--hold', 'on'] : [])]);
  const sse = await openSse(t, `${url}/v1/events${hold ? '?uncertain=hold' : ''}`);
  const consumers = [
    consumer('rollcall watch', () => jsonLines(watch.stdout())),
    consumer('/v1/events', () => {
      assert.equal(sse.ended(), null, 'the stream stays open');
      return sse.told().map(({ data }) => data);
    }),
  ];
  for (const { name, count } of consumers) {
    await until(`${name} has the snapshot`, LIMIT_MS, () => count('rollcall.roll.synced') === 1);
  }
  return { watch, agent, agentUrl: url, agentId, consumers };
}

/** Waits until each consumer knows what the store has. */
export async function agree(consumers: readonly Consumer[], { store }: SampleWriter, limitMs = LIMIT_MS) {
  for (const { name, roll } of consumers) {
    await until(`${name} has the roll of the store`, limitMs, async () => {
      assert.deepEqual(differences(roll(), await storedRoll(store)), []);
      return true;
    });
  }
}

/** @param told everything that came so far */
export function consumer(name: string, told: () => readonly string[]): Consumer {
  const known: ToldRoll = createToldRoll();
  const catchUp = () => {
    for (const text of told().slice(known.events.length)) known.take(JSON.parse(text));
    return known;
  };
  return {
    name,
    events: () => catchUp().events,
    roll: () => catchUp().instances,
    count: (type) => catchUp().events.filter((event) => event.type === type).length,
  };
}

/** The last line may not be whole yet. */
export function jsonLines(text: string): readonly string[] {
  return text.split('\n').slice(0, -1);
}
