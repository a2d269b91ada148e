import type { Clock } from '../timing/clock.ts';
import { type Pace, takeTurn, unhurried } from '../timing/pace.ts';
import type { EcsApi } from './ecs-api.ts';

/**
 * The same API, asked at most `perSecond` times a second by all its users together, however many they are: each call
 * waits for its turn, in the order they came, or until its signal aborts. A call that ECS throttles takes its time
 * beneath, in the SDK's own adaptive retries.
 */
export function paceEcsApi(api: EcsApi, clock: Clock, perSecond: number): EcsApi {
  let pace: Pace = unhurried;

  const paced =
    <Args extends readonly unknown[], T>(call: (...args: [...Args, AbortSignal]) => Promise<T>) =>
    async (...args: [...Args, AbortSignal]): Promise<T> => {
      const signal = args.at(-1) as AbortSignal;
      signal.throwIfAborted();
      const nowMs = clock.monotonicMs();
      const before = pace;
      const turn = takeTurn(pace, nowMs, perSecond);
      pace = turn.pace;
      try {
        if (turn.atMs > nowMs) await clock.sleep(turn.atMs - nowMs, signal);
      } catch (error) {
        // Nobody came after: the turn that was not used is the next one's.
        if (pace === turn.pace) pace = before;
        throw error;
      }
      return call(...args);
    };

  return {
    label: api.label,
    listClusters: paced((page, signal) => api.listClusters(page, signal)),
    listContainerInstances: paced((cluster, page, signal) => api.listContainerInstances(cluster, page, signal)),
    describeContainerInstances: paced((cluster, arns, signal) => api.describeContainerInstances(cluster, arns, signal)),
    updateContainerInstancesState: paced((cluster, arns, status, signal) =>
      api.updateContainerInstancesState(cluster, arns, status, signal),
    ),
    putAttributes: paced((cluster, arn, attributes, signal) => api.putAttributes(cluster, arn, attributes, signal)),
    deleteAttributes: paced((cluster, arn, names, signal) => api.deleteAttributes(cluster, arn, names, signal)),
    describeTaskDefinition: paced((definition, signal) => api.describeTaskDefinition(definition, signal)),
    startTask: paced((cluster, definition, arns, signal) => api.startTask(cluster, definition, arns, signal)),
    close: () => api.close(),
  };
}
