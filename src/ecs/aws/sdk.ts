/**
 * All that we use of AWS's SDK, and nothing of ours: this module is a bundle of its own, loaded only by who asks ECS.
 * What it exported of ours would be there twice, and an `EcsError` of the one no instance of the other.
 */
export {
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
export { loadSharedConfigFiles } from '@smithy/core/config';
