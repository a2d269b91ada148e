import { SIMULATED_KEY } from './ecs/signature.ts';
import { type SimulatedAnswer, type SimulatedRequest, simulatedAnswer } from './http.ts';
import {
  containerInstanceArn,
  type ImdsFault,
  type IntrospectionFault,
  issueToken,
  type Notices,
  type SimulatedNode,
  tokenIsGood,
} from './simulated-node.ts';

export interface ImdsState {
  readonly node: SimulatedNode;
  readonly notices: Notices;
  /** False: v2-only, like new instances. */
  readonly allowV1: boolean;
  readonly tokenSecret: string;
  /** Monotonic clock. */
  readonly nowMs: number;
}

const TTL_HEADER = 'x-aws-ec2-metadata-token-ttl-seconds';
const MAX_TTL_SECONDS = 21_600;

/** The instance role's name. */
const ROLE = 'ecsInstanceRole';

const TOKEN_PATH = '/latest/api/token';

/** EC2's metadata service: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html */
export function answerImds(state: ImdsState, request: SimulatedRequest): SimulatedAnswer {
  if (request.path === TOKEN_PATH) return answerToken(state, request);
  const good = tokenIsGood(state.tokenSecret, request.headers['x-aws-ec2-metadata-token'], state.nowMs);
  if (!good && !state.allowV1) return failure(401, 'Unauthorized');
  if (request.method !== 'GET' && request.method !== 'HEAD') return failure(405, 'Method Not Allowed');
  const body = values(state).get(request.path.replace(/^\/latest\//, ''));
  return body === undefined || body === null ? failure(404, 'Not Found') : simulatedAnswer(200, 'text/plain', body);
}

function answerToken({ tokenSecret, nowMs }: ImdsState, { method, headers }: SimulatedRequest): SimulatedAnswer {
  if (method !== 'PUT') return failure(405, 'Method Not Allowed');
  // As in the real IMDS, so that an open proxy on the instance cannot get tokens.
  if (headers['x-forwarded-for'] !== undefined) return failure(403, 'Forbidden');
  const asked = headers[TTL_HEADER];
  const seconds = typeof asked === 'string' && /^\d{1,6}$/.test(asked) ? Number(asked) : 0;
  if (seconds < 1 || seconds > MAX_TTL_SECONDS) return failure(400, 'Bad Request');
  const token = issueToken(tokenSecret, nowMs + seconds * 1_000);
  return simulatedAnswer(200, 'text/plain', token, { [TTL_HEADER]: String(seconds) });
}

/** The values under `/latest/`; null: this node does not have it. */
function values({ node, notices }: ImdsState): ReadonlyMap<string, string | null> {
  return new Map([
    ['dynamic/instance-identity/document', identityDocument(node)],
    ['meta-data/instance-id', node.instanceId],
    ['meta-data/local-ipv4', node.privateIpAddress],
    ['meta-data/public-ipv4', null],
    ['meta-data/local-hostname', node.privateDnsName],
    ['meta-data/instance-type', node.instanceType],
    ['meta-data/ami-id', node.imageId],
    ['meta-data/instance-life-cycle', node.instanceLifecycle],
    ['meta-data/placement/availability-zone', node.availabilityZone],
    ['meta-data/placement/region', node.region],
    ['meta-data/iam/security-credentials/', ROLE],
    [`meta-data/iam/security-credentials/${ROLE}`, roleCredentials()],
    ['meta-data/spot/instance-action', notices.spot && JSON.stringify(notices.spot)],
    ['meta-data/events/recommendations/rebalance', notices.rebalance && JSON.stringify(notices.rebalance)],
    ['meta-data/events/maintenance/scheduled', JSON.stringify(notices.maintenance)],
    ['meta-data/autoscaling/target-lifecycle-state', notices.lifecycleState],
  ]);
}

/** Credentials that only the simulated ECS accepts. */
function roleCredentials(): string {
  const { accessKeyId, secretAccessKey } = SIMULATED_KEY;
  const key = { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, Token: 'simulated' };
  const span = { LastUpdated: '2026-11-22T09:00:00Z', Expiration: '2099-01-01T00:00:00Z' };
  return JSON.stringify({ Code: 'Success', Type: 'AWS-HMAC', ...span, ...key }, null, 2);
}

function identityDocument(node: SimulatedNode): string {
  const { accountId, architecture, availabilityZone, imageId, instanceId, instanceType, pendingTime, region } = node;
  const privateIp = node.privateIpAddress;
  const placed = {
    accountId,
    architecture,
    availabilityZone,
    billingProducts: null,
    imageId,
    instanceId,
    instanceType,
  };
  return JSON.stringify({ ...placed, kernelId: null, pendingTime, privateIp, region, version: '2017-09-30' }, null, 2);
}

function failure(status: number, title: string): SimulatedAnswer {
  const page = `<?xml version="1.0" encoding="iso-8859-1"?>\n<html><head><title>${status} - ${title}</title></head><body><h1>${status} - ${title}</h1></body></html>\n`;
  return simulatedAnswer(status, 'text/html', page);
}

/** Two releases of ecs-agent, with the answers of the real ones. */
const AGENT_VERSIONS = ['1.70.0', '1.0.0'] as const;
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

/** ecs-agent's introspection API. It ignores the method, and answers 200 with its commands for any unknown path. */
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

/** How an answer is sent: whole, cut off half-way, or never. */
export type Delivery =
  | { readonly kind: 'whole'; readonly answer: SimulatedAnswer }
  /** The content-length is that of the whole body, then the connection breaks. */
  | { readonly kind: 'cut'; readonly answer: SimulatedAnswer }
  | { readonly kind: 'never' };

/** More than a reader of these services should accept. */
const OVERSIZED_BYTES = 2_097_152;

const PAGE =
  '<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in to the network</body></html>\n';

/** Applies a fault to a correct answer. `refuse` is not handled here, because the port is closed then. */
export function deliver(
  fault: ImdsFault | IntrospectionFault,
  request: SimulatedRequest,
  answer: SimulatedAnswer,
): Delivery {
  const whole = (changed: SimulatedAnswer): Delivery => ({ kind: 'whole', answer: changed });
  const isToken = request.path === TOKEN_PATH;
  switch (fault) {
    case 'hang':
      return { kind: 'never' };
    case 'token-hang':
      return isToken ? { kind: 'never' } : whole(answer);
    case 'error500':
      return whole(simulatedAnswer(500, 'text/plain; charset=utf-8', 'internal error\n'));
    case 'unauthorized':
      return whole(simulatedAnswer(401, 'text/plain; charset=utf-8', 'Unauthorized\n'));
    // The faults below do not affect tokens, so that a reader gets past the token to the fault.
    case 'html':
      return whole(isToken ? answer : simulatedAnswer(200, 'text/html; charset=utf-8', PAGE));
    case 'truncated':
      return isToken ? whole(answer) : { kind: 'cut', answer };
    case 'oversized':
      // With trailing spaces the JSON stays valid, so only a reader's own limit protects it.
      return whole(isToken ? answer : { ...answer, body: answer.body.padEnd(OVERSIZED_BYTES) });
    case 'wrong-type':
      return whole(isToken ? answer : { ...answer, body: mistype(answer.body) });
    default:
      return whole(answer);
  }
}

/** The same keys with values of wrong types; a leaf becomes a JSON object. */
function mistype(body: string): string {
  try {
    const keys = Object.keys(JSON.parse(body) as object);
    return JSON.stringify(Object.fromEntries(keys.map((key) => [key, 42])));
  } catch {
    return '{"unexpected":42}';
  }
}
