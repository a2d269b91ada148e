import { deleteAttributes, listAttributes, putAttributes } from './attribute-operations.ts';
import { AwsError } from './aws-error.ts';
import { createCluster, describeClusters, listClusters } from './cluster-operations.ts';
import {
  describeContainerInstances,
  listContainerInstances,
  updateContainerInstancesState,
} from './instance-operations.ts';
import type { Circumstances, Operation, Outcome } from './operation.ts';
import { requestInput } from './request-input.ts';
import { describeTaskDefinition, registerTaskDefinition } from './task-definition-operations.ts';
import { describeTasks, listTasks, startTask, stopTask } from './task-operations.ts';
import type { EcsWorld } from './world.ts';

const OPERATIONS: ReadonlyMap<string, Operation> = new Map(
  Object.entries({
    CreateCluster: createCluster,
    DeleteAttributes: deleteAttributes,
    DescribeClusters: describeClusters,
    DescribeContainerInstances: describeContainerInstances,
    DescribeTaskDefinition: describeTaskDefinition,
    DescribeTasks: describeTasks,
    ListAttributes: listAttributes,
    ListClusters: listClusters,
    ListContainerInstances: listContainerInstances,
    ListTasks: listTasks,
    PutAttributes: putAttributes,
    RegisterTaskDefinition: registerTaskDefinition,
    StartTask: startTask,
    StopTask: stopTask,
    UpdateContainerInstancesState: updateContainerInstancesState,
  }),
);

export const OPERATION_NAMES: readonly string[] = [...OPERATIONS.keys()];

/**
 * The ECS API: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html
 * @param text the request's body @throws AwsError; then the world stays as it was
 */
export function answerEcs(world: EcsWorld, operation: string, text: string, circumstances: Circumstances): Outcome {
  const answer = OPERATIONS.get(operation);
  if (!answer) throw new AwsError('UnknownOperationException', `${operation}: the simulator does not have it`);
  return answer(world, requestInput(parse(text)), circumstances);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text === '' ? '{}' : text);
  } catch {
    throw new AwsError('SerializationException', 'the body is not JSON');
  }
}
