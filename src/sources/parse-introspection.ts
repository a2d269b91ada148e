import type { EcsAgentFacts } from '../record/facts.ts';
import { clusterName, isContainerInstanceArn } from './ecs-arn.ts';
import { parseObject } from './parse-object.ts';
import { quote } from './quote.ts';
import { SourceError } from './source-error.ts';

const ACTION = 'ecs-agent /v1/metadata';

/** `Amazon ECS Agent - v1.70.0 (*0e7482df)`; the star, a build from a changed tree, is no part of the hash. */
const VERSION = /^Amazon ECS Agent - v(\d+\.\d+\.\d+[\w.+-]{0,40}) \(\*?(\w{1,64})\)$/;

/**
 * What ecs-agent says of itself at `/v1/metadata`. A bare 200 proves nothing: ecs-agent answers so for any path.
 * @throws SourceError when the answer is not that, or a value in it cannot be
 */
export function parseIntrospection(text: string): EcsAgentFacts {
  const answer = parseObject(ACTION, text);
  const { Cluster: cluster, ContainerInstanceArn: arn, Version: version } = answer;
  if ('AvailableCommands' in answer) {
    throw new SourceError(`${ACTION}: got the list of commands instead, as for a path that does not exist`);
  }
  if (arn !== null && !(typeof arn === 'string' && isContainerInstanceArn(arn))) {
    throw wrong('ContainerInstanceArn', 'a container instance ARN or null', arn);
  }
  const name = typeof cluster === 'string' ? clusterName(cluster) : undefined;
  if (name === undefined) throw wrong('Cluster', "a cluster's name or ARN", cluster);
  return { containerInstanceArn: arn, cluster: name, ...parseVersion(version) };
}

/** Nothing depends on the version, so one that cannot be read is unknown and not an error. */
function parseVersion(version: unknown): Pick<EcsAgentFacts, 'agentVersion' | 'agentHash'> {
  const match = typeof version === 'string' ? VERSION.exec(version) : null;
  const hash = match?.[2] ?? null;
  return { agentVersion: match?.[1] ?? null, agentHash: hash === 'UNKNOWN' ? null : hash };
}

function wrong(key: string, expected: string, value: unknown): SourceError {
  return new SourceError(`${ACTION}: ${key}: expected ${expected}, got ${quote(JSON.stringify(value) ?? 'none')}`);
}
