import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Clock } from '../../lib/clock.ts';
import { UsageError } from '../../lib/errors.ts';
import { readBody, requireObject, simulatedAnswer } from '../http.ts';
import { type HttpListener, openHttpListener, sendDelivery } from '../listener.ts';
import type { Delivery } from '../node-answers.ts';
import { REGION } from '../simulated-node.ts';
import {
  AwsError,
  answerListClusters,
  type Circumstances,
  createCluster,
  deleteAttributes,
  describeClusters,
  describeContainerInstances,
  listAttributes,
  listContainerInstances,
  type Operation,
  type Outcome,
  putAttributes,
  requestInput,
  updateContainerInstancesState,
} from './operations.ts';
import { SIMULATED_KEY, type SignedRequest, verifySignature } from './signature.ts';
import {
  describeTaskDefinition,
  describeTasks,
  listTasks,
  registerTaskDefinition,
  startTask,
  stopTask,
} from './task-operations.ts';
import { clusterArn, type EcsWorld, emptyWorld, withCluster } from './world.ts';

const OPERATIONS: ReadonlyMap<string, Operation> = new Map(
  Object.entries({
    CreateCluster: createCluster,
    DeleteAttributes: deleteAttributes,
    DescribeClusters: describeClusters,
    DescribeContainerInstances: describeContainerInstances,
    DescribeTaskDefinition: describeTaskDefinition,
    DescribeTasks: describeTasks,
    ListAttributes: listAttributes,
    ListClusters: answerListClusters,
    ListContainerInstances: listContainerInstances,
    ListTasks: listTasks,
    PutAttributes: putAttributes,
    RegisterTaskDefinition: registerTaskDefinition,
    StartTask: startTask,
    StopTask: stopTask,
    UpdateContainerInstancesState: updateContainerInstancesState,
  }),
);

export const OPERATION_NAMES: readonly string[] = [...OPERATIONS.keys()];

/**
 * The ECS API: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html
 * @param text the request's body @throws AwsError; the world is then unchanged
 */
export function answerEcs(world: EcsWorld, operation: string, text: string, circumstances: Circumstances): Outcome {
  const answer = OPERATIONS.get(operation);
  if (!answer) throw new AwsError('UnknownOperationException', `${operation}: the simulator does not have it`);
  return answer(world, requestInput(parse(text)), circumstances);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text === '' ? '{}' : text);
  } catch {
    throw new AwsError('SerializationException', 'the body is not JSON');
  }
}

/**
 * `throttle`, `deny`, `expire` and `error500` refuse a request with AWS's error. With `slow`, `hang`, `cut` and `garbage`
 * the request is carried out, and only its answer is late, missing, cut off or not JSON.
 */
export const ECS_FAULTS = ['none', 'throttle', 'deny', 'expire', 'error500', 'slow', 'hang', 'cut', 'garbage'] as const;

interface EcsFault {
  readonly fault: (typeof ECS_FAULTS)[number];
  /** Number of requests that still fail; null: all. */
  readonly times: number | null;
  /** Share of the requests that fail, above 0 up to 1; evenly spread, not random. */
  readonly share: number;
  /** Delay of `slow`. */
  readonly delayMs: number;
  /** Requests so far that the fault applied to. */
  readonly seen: number;
}

/** Faults by operation. `all` applies to operations without their own fault. */
export type EcsFaults = ReadonlyMap<string, EcsFault>;

const DEFAULT_DELAY_MS = 1_000;

/** The fault of the next request, and the faults after it. */
export function nextFault(faults: EcsFaults, operation: string): { faults: EcsFaults; fault: EcsFault | null } {
  const name = faults.has(operation) ? operation : 'all';
  const fault = faults.get(name);
  if (!fault) return { faults, fault: null };
  const seen = fault.seen + 1;
  const met = Math.floor(seen * fault.share) > Math.floor(fault.seen * fault.share);
  const times = met && fault.times !== null ? fault.times - 1 : fault.times;
  const after = new Map(faults);
  if (times === 0) after.delete(name);
  else after.set(name, { ...fault, seen, times });
  return { faults: after, fault: met ? fault : null };
}

/**
 * Reads `{"ListClusters":{"fault":"throttle","times":3},"all":"slow"}`; other faults stay.
 * @throws UsageError with the allowed values
 */
export function parseEcsFaults(present: EcsFaults, value: unknown): EcsFaults {
  const faults = new Map(present);
  for (const [name, asked] of Object.entries(requireObject('ECS faults', ['all', ...OPERATION_NAMES], value))) {
    const fault = parseEcsFault(name, asked);
    if (fault.fault === 'none') faults.delete(name);
    else faults.set(name, fault);
  }
  return faults;
}

function parseEcsFault(name: string, value: unknown): EcsFault {
  const members = requireObject(
    `fault of ${name}`,
    ['fault', 'times', 'share', 'delayMs'],
    typeof value === 'string' ? { fault: value } : value,
  );
  const { fault: asked, times = null, share = 1, delayMs = DEFAULT_DELAY_MS } = members;
  const fault = ECS_FAULTS.find((one) => one === asked);
  if (fault === undefined) {
    throw new UsageError(`fault of ${name}: ${JSON.stringify(asked)} is unknown; use one of ${ECS_FAULTS.join(', ')}`);
  }
  if (times !== null && !(Number.isSafeInteger(times) && Number(times) > 0))
    throw new UsageError(`fault of ${name}: times: expected a whole number above 0, got ${JSON.stringify(times)}`);
  if (typeof share !== 'number' || !(share > 0 && share <= 1))
    throw new UsageError(`fault of ${name}: share: expected a number above 0 to 1, got ${JSON.stringify(share)}`);
  if (typeof delayMs !== 'number' || !(delayMs >= 0 && delayMs <= 120_000))
    throw new UsageError(`fault of ${name}: delayMs: expected 0 to 120000, got ${JSON.stringify(delayMs)}`);
  return { fault, times: times as number | null, share, delayMs, seen: 0 };
}

interface LoggedRequest {
  readonly operation: string;
  /** RFC 3339. */
  readonly at: string;
  /** Monotonic clock. */
  readonly atMs: number;
  /** AWS's error code, the name of the fault, or null. */
  readonly error: string | null;
}

interface RequestLog {
  readonly counts: ReadonlyMap<string, { readonly requests: number; readonly errors: number }>;
  /** The newest requests, oldest first. */
  readonly recent: readonly LoggedRequest[];
}

export const NO_REQUESTS: RequestLog = { counts: new Map(), recent: [] };

/** Several times the requests of an audit of 10,000 nodes. */
const MAX_RECENT = 2_000;

export function logRequest({ counts, recent }: RequestLog, request: LoggedRequest): RequestLog {
  const { requests, errors } = counts.get(request.operation) ?? { requests: 0, errors: 0 };
  const count = { requests: requests + 1, errors: errors + (request.error === null ? 0 : 1) };
  const kept = recent.length < MAX_RECENT ? recent : recent.slice(1);
  return { counts: new Map(counts).set(request.operation, count), recent: [...kept, request] };
}

/** Counts for the control server. `highestPerSecond`: the maximum number of recent requests in any second. */
export function describeRequests({ counts, recent }: RequestLog): unknown {
  let first = 0;
  let highestPerSecond = 0;
  for (const [index, { atMs }] of recent.entries()) {
    while (atMs - (recent[first]?.atMs ?? atMs) >= 1_000) first += 1;
    highestPerSecond = Math.max(highestPerSecond, index - first + 1);
  }
  const shown = recent.map(({ operation, at, error }) => ({ at, operation, error }));
  return { operations: Object.fromEntries(counts), highestPerSecond, recent: shown };
}

interface EcsState {
  readonly world: EcsWorld;
  readonly faults: EcsFaults;
  readonly log: RequestLog;
  /** Delay from a registration until ECS shows it. */
  readonly registrationDelayMs: number;
  /** Number of requests so far. */
  readonly serial: number;
}

type EcsDelivery = Delivery & { readonly delayMs: number };

function initialEcsState(accountId: string): EcsState {
  return { world: emptyWorld(accountId), faults: new Map(), log: NO_REQUESTS, registrationDelayMs: 0, serial: 0 };
}

/** Answers one request: fault, signature, operation. */
function respondEcs(
  state: EcsState,
  request: SignedRequest,
  now: { readonly wallMs: number; readonly nowMs: number },
): { readonly state: EcsState; readonly delivery: EcsDelivery } {
  const operation = operationOf(request);
  const { faults, fault } = nextFault(state.faults, operation);
  const { world, status, body, error } = answerSigned(state.world, operation, fault, request, now);
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

function answerSigned(
  world: EcsWorld,
  operation: string,
  fault: EcsFault | null,
  request: SignedRequest,
  now: { readonly wallMs: number; readonly nowMs: number },
) {
  try {
    const region = verifySignature(request);
    refuse(fault, world, operation, region, request.body);
    const outcome = answerEcs(world, operation, request.body, { region, ...now });
    return { world: outcome.world, status: 200, body: outcome.body, error: fault?.fault ?? null };
  } catch (error) {
    if (!(error instanceof AwsError)) throw error;
    const body = { __type: error.code, message: error.message };
    return { world, status: error.status, body, error: error.code };
  }
}

/** Throws AWS's error for a fault that is one. */
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

/** The operation of a request. All unknown ones have one name, so that clients cannot make the log grow. */
function operationOf({ headers }: SignedRequest): string {
  const target = String(headers['x-amz-target'] ?? '');
  const name = target.startsWith(SERVICE) ? target.slice(SERVICE.length) : '';
  return OPERATION_NAMES.includes(name) ? name : 'unknown';
}

function requestId(serial: number): string {
  const hex = createHash('sha256').update(String(serial)).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-');
}

interface EcsSimulationOptions {
  readonly host: string;
  /** 0: a free port. */
  readonly port: number;
  readonly accountId: string;
  /** Names of the clusters at the start, in the simulated region. */
  readonly clusters: readonly string[];
  readonly clock: Clock;
}

/** The ECS endpoint of the simulated fleet. */
export interface EcsSimulation {
  readonly endpoint: string;
  readonly clock: Clock;
  state(): EcsState;
  /** Requests that hang because of an ended fault get no answer. */
  change(step: (state: EcsState) => EcsState): void;
  close(): Promise<void>;
}

/** More than any request needs; 100 ARNs are 15 kB. */
const MAX_BODY_BYTES = 262_144;
/** Each agent of a fleet may have one. */
const MAX_CONNECTIONS = 1_100;

/** @throws RollcallError if it cannot listen on the address */
export async function startEcsSimulation(options: EcsSimulationOptions): Promise<EcsSimulation> {
  const { host, port, accountId, clock } = options;
  let state = initialEcsState(accountId);
  for (const name of options.clusters) {
    state = { ...state, world: withCluster(state.world, clusterArn(accountId, REGION, name)) };
  }
  const held = new Set<ServerResponse>();

  const answer = async (request: SignedRequest, res: ServerResponse): Promise<void> => {
    const responded = respondEcs(state, request, { wallMs: clock.wallMs(), nowMs: clock.monotonicMs() });
    state = responded.state;
    await deliver(responded.delivery, res);
  };
  const deliver = async (delivery: EcsDelivery, res: ServerResponse): Promise<void> => {
    const gone = new AbortController();
    held.add(res);
    res.once('close', () => {
      held.delete(res);
      gone.abort();
    });
    if (delivery.kind === 'never') return;
    if (delivery.delayMs > 0) await clock.sleep(delivery.delayMs, gone.signal);
    sendDelivery(res, 'POST', delivery);
  };

  const listener: HttpListener = await openHttpListener({
    host,
    port,
    maxConnections: MAX_CONNECTIONS,
    onRequest: async (req, res) => {
      try {
        const body = await readBody(req, MAX_BODY_BYTES);
        if (body === null) res.writeHead(413, { Connection: 'close' }).end();
        else await answer({ method: req.method ?? '', path: req.url ?? '', headers: req.headers, body }, res);
      } catch {
        res.destroy(); // the client disconnected, or the simulation ends
      }
    },
  });
  return {
    endpoint: listener.url,
    clock,
    state: () => state,
    change: (step) => {
      const before = state.faults;
      state = step(state);
      if (state.faults !== before) for (const res of held) res.destroy();
    },
    close: listener.close,
  };
}

/** The variables with which AWS tools use the simulated ECS. */
export function ecsEnvironment(endpoint: string): Readonly<Record<string, string>> {
  return {
    AWS_ENDPOINT_URL_ECS: endpoint,
    AWS_REGION: REGION,
    AWS_DEFAULT_REGION: REGION, // the aws CLI reads only this one
    AWS_ACCESS_KEY_ID: SIMULATED_KEY.accessKeyId,
    AWS_SECRET_ACCESS_KEY: SIMULATED_KEY.secretAccessKey,
  };
}
