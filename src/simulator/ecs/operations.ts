import { createHash } from 'node:crypto';
import { clusterName } from '../../ecs/arn.ts';
import {
  clusterArn,
  type EcsWorld,
  type SimulatedInstance,
  wireAttributes,
  wireInstance,
  withCluster,
  withInstances,
} from './world.ts';

/** An error answer of a simulated AWS service. */
export class AwsError extends Error {
  override readonly name = 'AwsError';
  /** Such as `ClusterNotFoundException`. */
  readonly code: string;
  /** HTTP status: 400, or 500 for a failure of the service. */
  readonly status: number;
  constructor(code: string, message: string, status = 400) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export function invalidParameter(message: string): AwsError {
  return new AwsError('InvalidParameterException', message);
}

/** The members of a request. A reader throws AWS's error for a wrong type. */
export interface RequestInput {
  text(name: string): string | undefined;
  requiredText(name: string): string;
  integer(name: string): number | undefined;
  /** Empty if absent. @param max AWS's limit @param what AWS's name: `instanceIds` */
  texts(name: string, max: number, what: string): readonly string[];
  /** Like `texts`, for a list of objects. */
  items(name: string, max: number): readonly RequestInput[];
}

export function requestInput(value: unknown): RequestInput {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw mistyped('the request', 'an object');
  const members = value as Readonly<Record<string, unknown>>;
  const member = (name: string) => members[name] ?? undefined;
  const text = (name: string): string | undefined => {
    const found = member(name);
    if (found === undefined || typeof found === 'string') return found;
    throw mistyped(name, 'a string');
  };
  const list = (name: string, max: number, what: string): readonly unknown[] => {
    const found = member(name) ?? [];
    if (!Array.isArray(found)) throw mistyped(name, 'a list');
    if (found.length > max) throw invalidParameter(`${what} can have at most ${max} items.`);
    return found;
  };
  return {
    text,
    requiredText: (name) => {
      const found = text(name);
      if (found) return found;
      throw invalidParameter(`${name} can not be blank.`);
    },
    integer: (name) => {
      const found = member(name);
      if (found === undefined || Number.isSafeInteger(found)) return found as number | undefined;
      throw mistyped(name, 'an integer');
    },
    texts: (name, max, what) =>
      list(name, max, what).map((one) => {
        if (typeof one === 'string') return one;
        throw mistyped(`${name} member`, 'a string');
      }),
    items: (name, max) => list(name, max, name).map(requestInput),
  };
}

function mistyped(name: string, expected: string): AwsError {
  return new AwsError('SerializationException', `${name}: expected ${expected}`);
}

/** The context of an operation. */
export interface Circumstances {
  /** The region of the request's signature. */
  readonly region: string;
  readonly wallMs: number;
  /** Monotonic clock. */
  readonly nowMs: number;
}

export interface Outcome {
  readonly world: EcsWorld;
  /** The answer's members. Instants are seconds since the epoch, as in AWS's JSON protocols. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** @throws AwsError if it refuses the whole request */
export type Operation = (world: EcsWorld, input: RequestInput, circumstances: Circumstances) => Outcome;

export interface Failure {
  readonly arn: string;
  readonly reason: string;
}

/** The ARN of the cluster in a request, given by name or ARN; default `default`. */
export function requiredClusterArn(world: EcsWorld, input: RequestInput, { region }: Circumstances): string {
  const asked = input.text('cluster') ?? 'default';
  const arn = asked.startsWith('arn:') ? asked : clusterArn(world.accountId, region, asked);
  // A cluster exists in one region only, also if another region asks for its ARN.
  if (world.clusters.has(arn) && arn.split(':')[3] === region) return arn;
  throw new AwsError('ClusterNotFoundException', 'Cluster not found.');
}

/** The visible container instances of a cluster. */
function visibleInstances(world: EcsWorld, cluster: string, nowMs: number): readonly SimulatedInstance[] {
  return [...world.instances.values()].filter((one) => one.clusterArn === cluster && one.visibleFromMs <= nowMs);
}

/** The container instances in a request's `containerInstances`, by id or ARN, in its order. */
export function namedInstances(
  world: EcsWorld,
  input: RequestInput,
  { cluster, max, nowMs }: { readonly cluster: string; readonly max: number; readonly nowMs: number },
): { readonly found: readonly SimulatedInstance[]; readonly failures: readonly Failure[] } {
  const names = input.texts('containerInstances', max, 'instanceIds');
  if (names.length === 0) throw invalidParameter('Container Instances cannot be empty.');
  const found: SimulatedInstance[] = [];
  const failures: Failure[] = [];
  for (const name of names) {
    const instance = findInstance(world, cluster, name, nowMs);
    if (instance) found.push(instance);
    else failures.push({ arn: name.startsWith('arn:') ? name : missingArn(cluster, name), reason: 'MISSING' });
  }
  return { found, failures };
}

function findInstance(world: EcsWorld, cluster: string, name: string, nowMs: number): SimulatedInstance | undefined {
  const instance = name.startsWith('arn:')
    ? world.instances.get(name)
    : visibleInstances(world, cluster, nowMs).find((one) => one.containerInstanceArn.endsWith(`/${name}`));
  return instance?.clusterArn === cluster && instance.visibleFromMs <= nowMs ? instance : undefined;
}

/** The ARN in AWS's failure for an unknown id. */
function missingArn(cluster: string, id: string): string {
  return cluster.replace(':cluster/', ':container-instance/').concat(`/${id}`);
}

/** Maximum and default. */
const MAX_RESULTS = 100;

interface PageOf<T> {
  readonly items: readonly T[];
  readonly nextToken?: string;
}

/**
 * One page of a list, by the request's `nextToken` and `maxResults`. A token contains the last key of its page, so that an
 * item added or removed between two pages neither repeats nor hides another.
 * @param scope identifies the list; a token of another list is refused
 */
export function page<T>(all: Iterable<readonly [key: string, item: T]>, scope: string, input: RequestInput): PageOf<T> {
  const size = input.integer('maxResults') ?? MAX_RESULTS;
  if (size < 1 || size > MAX_RESULTS)
    throw invalidParameter(`Invalid maxResults: ${size}. It must be between 1 and 100.`);
  const token = input.text('nextToken');
  const after = token === undefined ? null : readToken(token, scope);
  const rest = [...all].filter(([key]) => after === null || key > after).sort(([a], [b]) => (a < b ? -1 : 1));
  const here = rest.slice(0, size);
  const last = here.at(-1);
  const items = here.map(([, item]) => item);
  return rest.length > size && last ? { items, nextToken: writeToken(last[0], scope) } : { items };
}

function writeToken(key: string, scope: string): string {
  return Buffer.from(`${seal(key, scope)}${key}`).toString('base64url');
}

function readToken(token: string, scope: string): string {
  const text = Buffer.from(token, 'base64url').toString('utf8');
  const key = text.slice(SEAL_LENGTH);
  if (key !== '' && text === `${seal(key, scope)}${key}`) return key;
  throw invalidParameter('Invalid token.');
}

const SEAL_LENGTH = 16;

function seal(key: string, scope: string): string {
  return createHash('sha256')
    .update(JSON.stringify([scope, key]))
    .digest('hex')
    .slice(0, SEAL_LENGTH);
}

export const answerListClusters: Operation = (world, input, { region }) => {
  const here = [...world.clusters].filter((arn) => arn.split(':')[3] === region);
  const { items, ...next } = page(
    here.map((arn) => [arn, arn] as const),
    `ListClusters ${region}`,
    input,
  );
  return { world, body: { clusterArns: items, ...next } };
};

export const describeClusters: Operation = (world, input, { region, nowMs }) => {
  const asked = input.texts('clusters', 100, 'clusters');
  const clusters: unknown[] = [];
  const failures: Failure[] = [];
  for (const name of asked.length === 0 ? ['default'] : asked) {
    const arn = name.startsWith('arn:') ? name : clusterArn(world.accountId, region, name);
    if (world.clusters.has(arn) && arn.split(':')[3] === region) clusters.push(wireCluster(world, arn, nowMs));
    else failures.push({ arn, reason: 'MISSING' });
  }
  return { world, body: { clusters, failures } };
};

/** An existing cluster is returned unchanged. */
export const createCluster: Operation = (world, input, { region, nowMs }) => {
  const name = input.text('clusterName') ?? 'default';
  if (clusterName(name) !== name) throw invalidParameter('Invalid cluster name.');
  const arn = clusterArn(world.accountId, region, name);
  const grown = withCluster(world, arn);
  return { world: grown, body: { cluster: wireCluster(grown, arn, nowMs) } };
};

function wireCluster(world: EcsWorld, arn: string, nowMs: number): Readonly<Record<string, unknown>> {
  const instances = visibleInstances(world, arn, nowMs).filter(
    ({ status }) => status === 'ACTIVE' || status === 'DRAINING',
  );
  return {
    clusterArn: arn,
    clusterName: clusterName(arn),
    status: 'ACTIVE',
    registeredContainerInstancesCount: instances.length,
    runningTasksCount: instances.reduce((sum, { runningTasksCount }) => sum + runningTasksCount, 0),
    pendingTasksCount: 0,
    activeServicesCount: 0,
    statistics: [],
    tags: [],
    settings: [],
    capacityProviders: [],
    defaultCapacityProviderStrategy: [],
  };
}

export const INSTANCE_STATUSES = ['ACTIVE', 'DRAINING', 'REGISTERING', 'DEREGISTERING', 'REGISTRATION_FAILED'] as const;

/** Of the cluster query language, what rollcall uses. */
const CONNECTED_FILTER = /^\s*agentConnected\s*==\s*(true|false)\s*$/;

export const listContainerInstances: Operation = (world, input, circumstances) => {
  const cluster = requiredClusterArn(world, input, circumstances);
  const status = input.text('status');
  if (status !== undefined && !INSTANCE_STATUSES.some((one) => one === status))
    throw invalidParameter(`Invalid status: ${status}.`);
  const filter = input.text('filter');
  const connected = filter === undefined ? null : CONNECTED_FILTER.exec(filter)?.[1];
  if (connected === undefined) throw invalidParameter('The simulator knows only the filter agentConnected == BOOLEAN.');
  const listed = visibleInstances(world, cluster, circumstances.nowMs).filter(
    (one) =>
      one.status === (status ?? one.status) && (connected === null || one.agentConnected === (connected === 'true')),
  );
  const { items, ...next } = page(
    listed.map(({ containerInstanceArn: arn }) => [arn, arn] as const),
    `ListContainerInstances ${cluster} ${status ?? ''} ${connected ?? ''}`,
    input,
  );
  return { world, body: { containerInstanceArns: items, ...next } };
};

export const describeContainerInstances: Operation = (world, input, circumstances) => {
  const cluster = requiredClusterArn(world, input, circumstances);
  const { found, failures } = namedInstances(world, input, { cluster, max: 100, nowMs: circumstances.nowMs });
  return { world, body: { containerInstances: found.map(wireInstance), failures } };
};

export const updateContainerInstancesState: Operation = (world, input, circumstances) => {
  const cluster = requiredClusterArn(world, input, circumstances);
  const status = input.requiredText('status');
  if (status !== 'ACTIVE' && status !== 'DRAINING')
    throw invalidParameter('Container instance status should be one of [ACTIVE,DRAINING].');
  const { found, failures } = namedInstances(world, input, { cluster, max: 10, nowMs: circumstances.nowMs });
  const refused: Failure[] = [];
  const changed: SimulatedInstance[] = [];
  for (const instance of found) {
    // Only an ACTIVE or DRAINING instance can change its status.
    const settled = instance.status === 'ACTIVE' || instance.status === 'DRAINING';
    if (settled) changed.push({ ...instance, status });
    else refused.push({ arn: instance.containerInstanceArn, reason: 'INACTIVE' });
  }
  const body = { containerInstances: changed.map(wireInstance), failures: [...failures, ...refused] };
  return { world: withInstances(world, changed), body };
};

/** Limits of one call, and of one instance in addition to ecs-agent's attributes. */
const MAX_ATTRIBUTES = 10;
const NAME = /^[A-Za-z0-9_./\\-]{1,128}$/;
const VALUE = /^(?! )[A-Za-z0-9_.@/\\: -]{1,128}(?<! )$/;
const AGENTS_OWN = /^(?:ecs|com\.amazonaws)\./;

export const putAttributes: Operation = (world, input, circumstances) =>
  changeAttributes(world, input, circumstances, (before, attribute) => {
    const name = attribute.requiredText('name');
    const value = attribute.text('value');
    if (!NAME.test(name)) throw invalidParameter(`Invalid attribute name: ${name}.`);
    if (value !== undefined && !VALUE.test(value)) throw invalidParameter(`Invalid attribute value: ${value}.`);
    const after = new Map(before).set(name, value ?? null);
    if ([...after.keys()].filter((one) => !AGENTS_OWN.test(one)).length > MAX_ATTRIBUTES) {
      throw new AwsError(
        'AttributeLimitExceededException',
        `A resource can have at most ${MAX_ATTRIBUTES} attributes.`,
      );
    }
    return after;
  });

/** If the request has a value, deletes the attribute only if it has that value. */
export const deleteAttributes: Operation = (world, input, circumstances) =>
  changeAttributes(world, input, circumstances, (before, attribute) => {
    const name = attribute.requiredText('name');
    const value = attribute.text('value');
    const after = new Map(before);
    if (value === undefined || before.get(name) === value) after.delete(name);
    return after;
  });

export const listAttributes: Operation = (world, input, circumstances) => {
  const cluster = requiredClusterArn(world, input, circumstances);
  requireTargetType(input);
  const [name, value] = [input.text('attributeName'), input.text('attributeValue')];
  const all = visibleInstances(world, cluster, circumstances.nowMs).flatMap((instance) =>
    wireAttributes(instance)
      .filter((one) => one.name === (name ?? one.name) && one.value === (value ?? one.value))
      .map((one) => ({ ...one, targetId: instance.containerInstanceArn })),
  );
  const { items, ...next } = page(
    all.map((one) => [`${one.targetId} ${one.name}`, one] as const),
    `ListAttributes ${cluster} ${name ?? ''} ${value ?? ''}`,
    input,
  );
  return { world, body: { attributes: items, ...next } };
};

type Change = (before: SimulatedInstance['attributes'], attribute: RequestInput) => SimulatedInstance['attributes'];

function changeAttributes(world: EcsWorld, input: RequestInput, circumstances: Circumstances, change: Change) {
  const cluster = requiredClusterArn(world, input, circumstances);
  const attributes = input.items('attributes', MAX_ATTRIBUTES);
  if (attributes.length === 0) throw invalidParameter('attributes can not be blank.');
  const changed = new Map<string, SimulatedInstance>();
  for (const attribute of attributes) {
    const target = attribute.requiredText('targetId');
    if (!target.startsWith('arn:')) requireTargetType(attribute);
    const instance = findInstance(world, cluster, target, circumstances.nowMs);
    if (!instance) throw new AwsError('TargetNotFoundException', `The target ${target} could not be found.`);
    const { containerInstanceArn: arn } = instance;
    const before = changed.get(arn) ?? instance;
    changed.set(arn, { ...before, attributes: change(before.attributes, attribute) });
  }
  const answered = input.items('attributes', MAX_ATTRIBUTES).map((attribute) => ({
    name: attribute.requiredText('name'),
    value: attribute.text('value'),
    targetId: attribute.requiredText('targetId'),
  }));
  return { world: withInstances(world, [...changed.values()]), body: { attributes: answered } };
}

function requireTargetType(input: RequestInput): void {
  if (input.text('targetType') !== 'container-instance')
    throw invalidParameter('targetType should be container-instance.');
}
