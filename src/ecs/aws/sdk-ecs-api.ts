import {
  DeleteAttributesCommand,
  DescribeContainerInstancesCommand,
  DescribeTaskDefinitionCommand,
  ECSClient,
  ListClustersCommand,
  ListContainerInstancesCommand,
  PutAttributesCommand,
  StartTaskCommand,
  UpdateContainerInstancesStateCommand,
} from '@aws-sdk/client-ecs';
import { fromNodeProviderChain } from '@aws-sdk/credential-providers';
import type { EcsApi } from '../ecs-api.ts';
import type { EcsSettings } from '../ecs-settings.ts';
import type { EcsDeps } from '../open-ecs-api.ts';
import { parseDescribed, parsePage, parseStarted, parseTaskNeeds } from './parse-answers.ts';
import { translateError } from './translate-error.ts';

const PAGE = 100;
/** The SDK's own attempts, with adaptive pauses, at a call that is throttled or gets no answer. */
const MAX_ATTEMPTS = 4;
const CONNECT_TIMEOUT_MS = 3_000;
const ANSWER_TIMEOUT_MS = 10_000;

/** The port over AWS's SDK. Only this folder knows the SDK. */
export function createSdkEcsApi({ region, profile }: EcsSettings, _deps: EcsDeps): EcsApi {
  const requestHandler = { connectionTimeout: CONNECT_TIMEOUT_MS, requestTimeout: ANSWER_TIMEOUT_MS };
  const common = {
    ...(region === null ? {} : { region }),
    credentials: fromNodeProviderChain(profile === null ? {} : { profile }),
    requestHandler,
  };
  const client = new ECSClient({ ...common, maxAttempts: MAX_ATTEMPTS, retryMode: 'adaptive' });

  async function ask<T>(action: string, call: (client: ECSClient) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    try {
      return await call(client);
    } catch (error) {
      signal.throwIfAborted();
      throw translateError(action, error);
    }
  }

  return {
    label: region ?? 'ECS',
    listClusters: (page, signal) =>
      ask(
        'ecs:ListClusters',
        async (ecs) => {
          const input = { maxResults: PAGE, ...(page === null ? {} : { nextToken: page }) };
          const answer = await ecs.send(new ListClustersCommand(input), { abortSignal: signal });
          return parsePage(answer.clusterArns, answer.nextToken);
        },
        signal,
      ),
    listContainerInstances: (cluster, page, signal) =>
      ask(
        'ecs:ListContainerInstances',
        async (ecs) => {
          const input = { cluster, maxResults: PAGE, ...(page === null ? {} : { nextToken: page }) };
          const answer = await ecs.send(new ListContainerInstancesCommand(input), { abortSignal: signal });
          return parsePage(answer.containerInstanceArns, answer.nextToken);
        },
        signal,
      ),
    describeContainerInstances: (cluster, arns, signal) =>
      ask(
        'ecs:DescribeContainerInstances',
        async (ecs) => {
          const input = { cluster, containerInstances: [...arns] };
          const answer = await ecs.send(new DescribeContainerInstancesCommand(input), { abortSignal: signal });
          return parseDescribed(cluster, answer);
        },
        signal,
      ),
    updateContainerInstancesState: (cluster, arns, status, signal) =>
      ask(
        'ecs:UpdateContainerInstancesState',
        async (ecs) => {
          const input = { cluster, containerInstances: [...arns], status };
          const answer = await ecs.send(new UpdateContainerInstancesStateCommand(input), { abortSignal: signal });
          return parseDescribed(cluster, answer);
        },
        signal,
      ),
    putAttributes: (cluster, arn, attributes, signal) =>
      ask(
        'ecs:PutAttributes',
        async (ecs) => {
          const target = { targetId: arn, targetType: 'container-instance' as const };
          const named = attributes.map(({ name, value }) => ({
            ...target,
            name,
            ...(value === null ? {} : { value }),
          }));
          await ecs.send(new PutAttributesCommand({ cluster, attributes: named }), { abortSignal: signal });
        },
        signal,
      ),
    deleteAttributes: (cluster, arn, names, signal) =>
      ask(
        'ecs:DeleteAttributes',
        async (ecs) => {
          const attributes = names.map((name) => ({ name, targetId: arn, targetType: 'container-instance' as const }));
          await ecs.send(new DeleteAttributesCommand({ cluster, attributes }), { abortSignal: signal });
        },
        signal,
      ),
    describeTaskDefinition: (taskDefinition, signal) =>
      ask(
        'ecs:DescribeTaskDefinition',
        async (ecs) => {
          const answer = await ecs.send(new DescribeTaskDefinitionCommand({ taskDefinition }), { abortSignal: signal });
          return parseTaskNeeds(answer.taskDefinition);
        },
        signal,
      ),
    startTask: (cluster, taskDefinition, arns, signal) =>
      ask(
        'ecs:StartTask',
        async (ecs) => {
          const input = { cluster, taskDefinition, containerInstances: [...arns] };
          const answer = await ecs.send(new StartTaskCommand(input), { abortSignal: signal });
          return parseStarted(answer);
        },
        signal,
      ),
    close: () => client.destroy(),
  };
}
