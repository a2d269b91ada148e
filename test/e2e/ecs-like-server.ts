import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ContainerInstance } from '../../src/ecs/ecs-api.ts';

export interface EcsLikeServer {
  /** What a command needs in its environment to ask it. */
  readonly env: Record<string, string>;
  instances: readonly ContainerInstance[];
  /** Not null: describes none, for this reason, and names them without their cluster. */
  refusal: string | null;
  /** Operations, in order. */
  readonly asked: readonly string[];
  dispose(): Promise<void>;
}

/** Just enough of ECS's wire (JSON 1.1) for the real SDK to list and describe container instances of `demo`. */
export async function startEcsLikeServer(instances: readonly ContainerInstance[]): Promise<EcsLikeServer> {
  const asked: string[] = [];
  const answer = (operation: string, input: { cluster?: string; containerInstances?: string[] }): [number, unknown] => {
    asked.push(operation);
    if (operation === 'ListClusters') {
      return [200, { clusterArns: ['arn:aws:ecs:us-east-1:123456789012:cluster/demo'] }];
    }
    if (input.cluster?.split('/').at(-1) !== 'demo') {
      return [400, { __type: 'ClusterNotFoundException', message: 'Cluster not found.' }];
    }
    const arns = server.instances.map((each) => each.containerInstanceArn);
    if (operation === 'ListContainerInstances') return [200, { containerInstanceArns: arns }];
    const wanted = input.containerInstances ?? [];
    if (server.refusal !== null) {
      const failures = wanted.map((arn) => ({ arn: arn.replace('/demo/', '/'), reason: server.refusal }));
      return [200, { containerInstances: [], failures }];
    }
    return [
      200,
      {
        containerInstances: server.instances
          .filter((each) => wanted.includes(each.containerInstanceArn))
          // Instants are seconds since the epoch on this wire.
          .map((each) => ({ ...each, attributes: [], registeredAt: Date.parse(each.registeredAt ?? '') / 1_000 })),
        failures: wanted.filter((arn) => !arns.includes(arn)).map((arn) => ({ arn, reason: 'MISSING' })),
      },
    ];
  };
  const http = createServer(async (request, response) => {
    const operation = String(request.headers['x-amz-target']).split('.')[1] ?? '';
    const [status, body] = answer(operation, JSON.parse(await text(request)));
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const server: EcsLikeServer = {
    instances,
    refusal: null,
    asked,
    env: {
      AWS_ENDPOINT_URL_ECS: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
      AWS_SECRET_ACCESS_KEY: 'example',
    },
    dispose: () =>
      new Promise((resolve) => {
        http.close(() => resolve());
        http.closeAllConnections();
      }),
  };
  return server;
}

async function text(request: IncomingMessage): Promise<string> {
  let all = '';
  for await (const chunk of request) all += chunk;
  return all;
}
