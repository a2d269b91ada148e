/**
 * The used parts of the AWS SDK. This module is a separate bundle, loaded only by a process that calls ECS. It must not
 * export rollcall's own classes: they would exist twice, and `instanceof` would fail between the two bundles.
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
export {
  fromHttp,
  fromInstanceMetadata,
  fromLoginCredentials,
  fromSSO,
  fromTemporaryCredentials,
  fromWebToken,
} from '@aws-sdk/credential-providers';
