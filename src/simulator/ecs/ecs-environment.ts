import { REGION } from '../simulated-node.ts';
import { SIMULATED_KEY } from './authenticate.ts';

/** The variables with which any AWS tool asks the simulated ECS. */
export function ecsEnvironment(endpoint: string): Readonly<Record<string, string>> {
  return {
    AWS_ENDPOINT_URL_ECS: endpoint,
    AWS_REGION: REGION,
    AWS_DEFAULT_REGION: REGION, // the aws CLI knows the region by this name alone
    AWS_ACCESS_KEY_ID: SIMULATED_KEY.accessKeyId,
    AWS_SECRET_ACCESS_KEY: SIMULATED_KEY.secretAccessKey,
  };
}
