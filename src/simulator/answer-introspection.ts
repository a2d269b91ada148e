import { type SimulatedAnswer, simulatedAnswer } from './simulated-answer.ts';
import { containerInstanceArn, type SimulatedNode } from './simulated-node.ts';

/** Two releases of ecs-agent as they were seen to answer. */
export const AGENT_VERSIONS = ['1.70.0', '1.0.0'] as const;
export type AgentVersion = (typeof AGENT_VERSIONS)[number];

export interface IntrospectionState {
  readonly node: SimulatedNode;
  readonly version: AgentVersion;
  /** See `containerInstanceArn`. */
  readonly generation: number;
  readonly variant: 'none' | 'null-arn' | 'cluster-arn';
}

const JSON_TYPE = 'application/json';
const TEXT_TYPE = 'text/plain; charset=utf-8';

/** ecs-agent's introspection API. It looks at no method, and answers 200 with its commands for any path it does not know. */
export function answerIntrospection(state: IntrospectionState, path: string): SimulatedAnswer {
  const old = state.version === '1.0.0';
  if (path === '/v1/metadata')
    return simulatedAnswer(200, old ? TEXT_TYPE : JSON_TYPE, JSON.stringify(metadata(state)));
  if (path === '/v1/tasks') return simulatedAnswer(200, TEXT_TYPE, JSON.stringify({ Tasks: [] }));
  if (path === '/license' && !old)
    return simulatedAnswer(200, TEXT_TYPE, 'A simulated ecs-agent has no licenses to show\n');
  const commands = ['/v1/metadata', '/v1/tasks', ...(old ? [] : ['/license'])];
  return simulatedAnswer(200, TEXT_TYPE, JSON.stringify({ AvailableCommands: commands }));
}

function metadata({ node, version, generation, variant }: IntrospectionState): Readonly<Record<string, string | null>> {
  const old = version === '1.0.0';
  const clusterArn = `arn:aws:ecs:${node.region}:${node.accountId}:cluster/${node.cluster}`;
  return {
    Cluster: variant === 'cluster-arn' ? clusterArn : node.cluster,
    ContainerInstanceArn: variant === 'null-arn' ? null : containerInstanceArn(node, generation, !old),
    Version: `Amazon ECS Agent - v${version} (*${old ? 'UNKNOWN' : '0e7482df'})`,
  };
}
