import { SIMULATED_KEY } from './ecs/authenticate.ts';
import { issueToken, tokenIsGood } from './imds-token.ts';
import type { Notices } from './notices.ts';
import { type SimulatedAnswer, type SimulatedRequest, simulatedAnswer } from './simulated-answer.ts';
import type { SimulatedNode } from './simulated-node.ts';

export interface ImdsState {
  readonly node: SimulatedNode;
  readonly notices: Notices;
  /** False: v2-only, as new instances are. */
  readonly allowV1: boolean;
  readonly tokenSecret: string;
  /** Monotonic. */
  readonly nowMs: number;
}

const TTL_HEADER = 'x-aws-ec2-metadata-token-ttl-seconds';
const MAX_TTL_SECONDS = 21_600;

/** The instance role's name. */
const ROLE = 'ecsInstanceRole';

export const TOKEN_PATH = '/latest/api/token';

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
  // An open proxy in front of the instance would otherwise hand tokens to the world.
  if (headers['x-forwarded-for'] !== undefined) return failure(403, 'Forbidden');
  const asked = headers[TTL_HEADER];
  const seconds = typeof asked === 'string' && /^\d{1,6}$/.test(asked) ? Number(asked) : 0;
  if (seconds < 1 || seconds > MAX_TTL_SECONDS) return failure(400, 'Bad Request');
  const token = issueToken(tokenSecret, nowMs + seconds * 1_000);
  return simulatedAnswer(200, 'text/plain', token, { [TTL_HEADER]: String(seconds) });
}

/** All that there is under `/latest/`; null: not for this node. */
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

/** The simulated ECS takes them, and nobody else. */
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
