import { createHash } from 'node:crypto';
import type { Delivery } from '../delivery.ts';
import { simulatedAnswer } from '../simulated-answer.ts';
import { answerEcs, OPERATION_NAMES } from './answer-ecs.ts';
import { authenticate, type SignedRequest } from './authenticate.ts';
import { AwsError } from './aws-error.ts';
import { clusterArn } from './cluster-arn.ts';
import { type EcsFault, type EcsFaults, nextFault } from './ecs-faults.ts';
import { logRequest, NO_REQUESTS, type RequestLog } from './request-log.ts';
import { type EcsWorld, emptyWorld } from './world.ts';

export interface EcsState {
  readonly world: EcsWorld;
  readonly faults: EcsFaults;
  readonly log: RequestLog;
  /** From a registration until ECS shows it. */
  readonly registrationDelayMs: number;
  /** Requests so far. */
  readonly serial: number;
}

export type EcsDelivery = Delivery & { readonly delayMs: number };

export function initialEcsState(accountId: string): EcsState {
  return { world: emptyWorld(accountId), faults: new Map(), log: NO_REQUESTS, registrationDelayMs: 0, serial: 0 };
}

/** One request's way through the simulated ECS: fault, signature, operation. */
export function respondEcs(
  state: EcsState,
  request: SignedRequest,
  now: { readonly wallMs: number; readonly nowMs: number },
): { readonly state: EcsState; readonly delivery: EcsDelivery } {
  const operation = operationOf(request);
  const { faults, fault } = nextFault(state.faults, operation);
  const { world, status, body, error } = answer(state.world, operation, fault, request, now);
  const entry = { operation, at: new Date(now.wallMs).toISOString(), atMs: now.nowMs, error };
  const serial = state.serial + 1;
  const headers = { 'x-amzn-RequestId': requestId(serial) };
  const text = fault?.fault === 'garbage' ? '<html>Bad Gateway</html>' : JSON.stringify(body);
  const sent = simulatedAnswer(status, 'application/x-amz-json-1.1', text, headers);
  return {
    state: { ...state, world, faults, serial, log: logRequest(state.log, entry) },
    delivery: { ...manner(fault, sent), delayMs: fault?.fault === 'slow' ? fault.delayMs : 0 },
  };
}

function answer(
  world: EcsWorld,
  operation: string,
  fault: EcsFault | null,
  request: SignedRequest,
  now: { readonly wallMs: number; readonly nowMs: number },
) {
  try {
    const region = authenticate(request);
    refuse(fault, world, operation, region, request.body);
    const outcome = answerEcs(world, operation, request.body, { region, ...now });
    return { world: outcome.world, status: 200, body: outcome.body, error: fault?.fault ?? null };
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    const body = { __type: error.code, message: error.message };
    return { world, status: error.status, body, error: error.code };
  }
}

/** Faults that are answers of AWS. */
function refuse(fault: EcsFault | null, world: EcsWorld, operation: string, region: string, body: string): void {
  switch (fault?.fault) {
    case 'throttle':
      throw new AwsError('ThrottlingException', 'Rate exceeded');
    case 'expire':
      throw new AwsError('ExpiredTokenException', 'The security token included in the request is expired');
    case 'error500':
      throw new AwsError('ServerException', 'Service Unavailable. Please try again later.', 500);
    case 'deny': {
      const user = `arn:aws:iam::${world.accountId}:user/simulated`;
      const action = `is not authorized to perform: ecs:${operation} on resource: ${resource(world, region, body)}`;
      const cause = `because no identity-based policy allows the ecs:${operation} action`;
      throw new AwsError('AccessDeniedException', `User: ${user} ${action} ${cause}`);
    }
  }
}

function resource(world: EcsWorld, region: string, body: string): string {
  const cluster = /"cluster":"([^"]{1,300})"/.exec(body)?.[1];
  if (cluster === undefined) return '*';
  return cluster.startsWith('arn:') ? cluster : clusterArn(world.accountId, region, cluster);
}

function manner(fault: EcsFault | null, answer: ReturnType<typeof simulatedAnswer>): Delivery {
  if (fault?.fault === 'hang') return { kind: 'never' };
  return { kind: fault?.fault === 'cut' ? 'cut' : 'whole', answer };
}

const SERVICE = 'AmazonEC2ContainerServiceV20141113.';

/** One name for all that it does not have, so that clients cannot make the log grow. */
function operationOf({ headers }: SignedRequest): string {
  const target = String(headers['x-amz-target'] ?? '');
  const name = target.startsWith(SERVICE) ? target.slice(SERVICE.length) : '';
  return OPERATION_NAMES.includes(name) ? name : 'unknown';
}

function requestId(serial: number): string {
  const hex = createHash('sha256').update(String(serial)).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}
