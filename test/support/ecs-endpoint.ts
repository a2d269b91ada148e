import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export interface EcsRequest {
  /** Such as `ListClusters`; for what is no ECS request, method and path. */
  readonly action: string;
  readonly input: ReturnType<typeof JSON.parse>;
  readonly headers: IncomingMessage['headers'];
}

/** What to answer: a body for status 200, or whatever a function does with the response. */
export type EcsAnswer = object | ((response: ServerResponse) => void);

export interface EcsEndpoint {
  readonly url: string;
  /** Every request so far. */
  readonly requests: readonly EcsRequest[];
  /** How to answer from now on. */
  answer: (request: EcsRequest) => EcsAnswer;
}

/** A server on loopback that speaks just enough of ECS's protocol (JSON 1.1), and answers GETs too. */
export async function startEcsEndpoint(t: TestContext, answer: EcsEndpoint['answer']): Promise<EcsEndpoint> {
  const requests: EcsRequest[] = [];
  const server = createServer(async (message, response) => {
    let text = '';
    for await (const chunk of message) text += chunk;
    const target = message.headers['x-amz-target'];
    const action = typeof target === 'string' ? target.replace(/^.*\./, '') : `${message.method} ${message.url}`;
    const request = { action, input: text.startsWith('{') ? JSON.parse(text) : null, headers: message.headers };
    requests.push(request);
    const said = endpoint.answer(request);
    if (typeof said === 'function') said(response);
    else response.setHeader('content-type', 'application/x-amz-json-1.1').end(JSON.stringify(said));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const endpoint = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, answer };
  return endpoint;
}

/** An error as ECS answers with it. */
export function ecsFailure(type: string, message: string, status = 400): (response: ServerResponse) => void {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' });
    response.end(JSON.stringify({ __type: type, message }));
  };
}

export const arnOf = (cluster: string, n: number) =>
  `arn:aws:ecs:us-east-1:123456789012:container-instance/${cluster}/${n.toString(16).padStart(32, '0')}`;

/** The `n`th container instance of a cluster, as DescribeContainerInstances has it. */
export function sampleContainerInstance(cluster: string, n: number, overrides: object = {}): object {
  return {
    containerInstanceArn: arnOf(cluster, n),
    ec2InstanceId: `i-${n.toString(16).padStart(8, '0')}`,
    status: 'ACTIVE',
    agentConnected: true,
    registeredAt: 1_790_000_000.5,
    versionInfo: { agentVersion: '1.70.0', agentHash: '0e7482df' },
    runningTasksCount: 2,
    pendingTasksCount: 0,
    registeredResources: [
      { name: 'CPU', type: 'INTEGER', integerValue: 2_048 },
      { name: 'MEMORY', type: 'INTEGER', integerValue: 3_884 },
      { name: 'PORTS', type: 'STRINGSET', stringSetValue: ['22', '51678'] },
      { name: 'PORTS_UDP', type: 'STRINGSET', stringSetValue: [] },
    ],
    remainingResources: [
      { name: 'CPU', type: 'INTEGER', integerValue: 1_024 },
      { name: 'MEMORY', type: 'INTEGER', integerValue: 2_000 },
      { name: 'PORTS', type: 'STRINGSET', stringSetValue: ['22', '51678', '8080', '0', '65536', 'x'] },
      { name: 'PORTS_UDP', type: 'STRINGSET', stringSetValue: ['53'] },
    ],
    attributes: [{ name: 'ecs.availability-zone', value: 'us-east-1a' }, { name: 'ecs.capability.apparmor' }],
    ...overrides,
  };
}

/** Clusters of a number of instances each, in pages of 100, as ECS lists and describes them. */
export function ecsOf(clusters: Readonly<Record<string, number>>): EcsEndpoint['answer'] {
  return ({ action, input }) => {
    const cluster = String(input?.cluster ?? '').replace(/^.*\//, '');
    if (action === 'ListClusters') {
      return { clusterArns: Object.keys(clusters).map((name) => `arn:aws:ecs:us-east-1:123456789012:cluster/${name}`) };
    }
    const size = clusters[cluster];
    if (size === undefined) return ecsFailure('ClusterNotFoundException', 'Cluster not found.');
    const all = Array.from({ length: size }, (_, n) => arnOf(cluster, n));
    if (action === 'ListContainerInstances') {
      const from = Number(input.nextToken ?? 0);
      const next = from + input.maxResults < size ? { nextToken: String(from + input.maxResults) } : {};
      return { containerInstanceArns: all.slice(from, from + input.maxResults), ...next };
    }
    const known: string[] = input.containerInstances.filter((arn: string) => all.includes(arn));
    const missing = input.containerInstances.filter((arn: string) => !all.includes(arn));
    return {
      containerInstances: known.map((arn) => sampleContainerInstance(cluster, all.indexOf(arn))),
      failures: missing.map((arn: string) => ({ arn, reason: 'MISSING' })),
    };
  };
}
