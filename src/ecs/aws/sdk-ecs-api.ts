import type { ECSClient, ServiceInputTypes, ServiceOutputTypes } from '@aws-sdk/client-ecs';
import { withDeadline } from '../../lib/deadline.ts';
import { createPacer } from '../../lib/pacer.ts';
import type { EcsApi, EcsDeps, EcsSettings } from '../ecs-api.ts';
import { AnswerError, collectAnswer, type EcsCall, type Sdk } from './call.ts';
import { readConfigFiles, type SharedFiles } from './config-files.ts';
import { readCredentials } from './credentials.ts';
import { configuredEndpoint } from './endpoint.ts';
import { type AwsNetwork, awsNetwork } from './network.ts';
import { parseDefinedTask, parseDescribed, parsePage, parseStarted } from './parse.ts';
import { translateEcsError } from './translate-error.ts';

const CONNECT_TIMEOUT_MS = 3_000;
const ANSWER_TIMEOUT_MS = 10_000;

interface Client {
  readonly client: ECSClient;
  /** Region and endpoint of the requests; null until known. */
  place(): { readonly region: string | null; readonly endpoint: string | null };
}

const silence = () => {};

interface ClientDeps extends EcsDeps {
  readonly maxAttempts: number;
  /** Called with the `Date` of each answer that has one, in ms since the epoch. */
  readonly onDate: (ms: number) => void;
  readonly network: AwsNetwork;
  /** null: they cannot be read, which is an error where the credentials are in them. */
  readonly files: SharedFiles | null;
}

/**
 * A client that finds region, credentials and endpoint as other AWS tools do; the region in EC2's metadata is the last
 * resort. The SDK reads the process's environment by itself; `env` is for what it leaves out and the others
 * read: https://docs.aws.amazon.com/sdkref/latest/guide/feature-region.html
 * `maxAttempts` 1: a call is sent once.
 */
function openClient(
  sdk: Sdk,
  { region, profile, requestsPerSecond }: EcsSettings,
  { maxAttempts, onDate, clock, env, network, files }: ClientDeps,
): Client {
  const named = profile ?? (env['AWS_PROFILE'] || env['AWS_DEFAULT_PROFILE']);
  const [ecsEndpoint, stsEndpoint] = (['ecs', 'sts'] as const).map((service) =>
    configuredEndpoint(service, env, files, named ?? 'default'),
  );
  const given = region ?? (env['AWS_REGION'] || env['AWS_DEFAULT_REGION'] || null);
  const requestHandler = {
    ...network.agents,
    connectionTimeout: CONNECT_TIMEOUT_MS,
    requestTimeout: ANSWER_TIMEOUT_MS,
    // By default the SDK only warns about a late answer.
    throwOnRequestTimeout: true,
    // Between two parts of an answer.
    socketTimeout: ANSWER_TIMEOUT_MS,
  };
  const client = new sdk.ECSClient({
    // The SDK knows AWS_PROFILE alone, and would take the region from another profile than the keys.
    ...(named ? { profile: named } : {}),
    ...(ecsEndpoint ? { endpoint: ecsEndpoint } : {}),
    // Found above. The SDK would not understand `True`, and take an endpoint that is to be ignored.
    ignoreConfiguredEndpointUrls: true,
    region: given ?? regionOf(sdk, env, named),
    maxAttempts,
    retryMode: 'adaptive',
    requestHandler,
    // The SDK's own chain tries the next source if a named one fails, and ends with the role of the instance.
    credentials: () =>
      readCredentials(
        { sdk, clock, env, requestHandler, stsEndpoint: stsEndpoint ?? null, region: () => place.region },
        profile,
      ),
    streamCollector: collectAnswer,
    // The SDK would write warnings of several lines to stderr.
    logger: { trace: silence, debug: silence, info: silence, warn: silence, error: silence },
  });
  let place: ReturnType<Client['place']> = { region: given, endpoint: null };
  // Before the credentials are read, so that an error about them can name the region.
  client.middlewareStack.add(
    (next) => async (args) => {
      place = { ...place, region: await client.config.region() };
      return next(args);
    },
    { step: 'initialize', name: 'rememberRegion' },
  );
  client.middlewareStack.add(
    (next) => (args) => {
      const { protocol, hostname, port } = args.request as { protocol: string; hostname: string; port?: number };
      place = { ...place, endpoint: `${protocol}//${hostname}${port ? `:${port}` : ''}` };
      return next(args);
    },
    { step: 'build', name: 'rememberEndpoint' },
  );
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args);
      const { headers } = result.response as { readonly headers?: Readonly<Record<string, string>> };
      const dateMs = Date.parse(headers?.['date'] ?? '');
      if (!Number.isNaN(dateMs)) onDate(dateMs);
      return result;
    },
    { step: 'deserialize', priority: 'low', name: 'noteDate' },
  );
  if (requestsPerSecond !== undefined) {
    const turn = createPacer(clock, requestsPerSecond);
    // The SDK passes no signal to middleware. The wait ends with the deadline of the call at the latest.
    const { signal } = new AbortController();
    client.middlewareStack.add(
      (next) => async (args) => {
        await turn(signal);
        return next(args);
      },
      // After the retry middleware, which has high priority in this step, so that each retry waits too.
      { step: 'finalizeRequest', priority: 'low', name: 'pace' },
    );
  }
  return { client, place: () => place };
}

/**
 * Of the profile, by the parser that finds its credentials; else what the SDK finds. A file that cannot be read is an error
 * where the credentials are in it.
 */
function regionOf(sdk: Sdk, env: EcsDeps['env'], named: string | undefined): () => Promise<string> {
  const usual = new sdk.ECSClient(named ? { profile: named } : {});
  const profile = named ?? 'default';
  return async () => {
    const files = await readConfigFiles(env).catch(() => null);
    return (
      files?.credentialsFile[profile]?.['region'] || files?.configFile[profile]?.['region'] || usual.config.region()
    );
  };
}

const PAGE = 100;
/** Attempts of the SDK, with adaptive pauses, if a call is throttled or gets no answer. */
const MAX_ATTEMPTS = 4;
/** Deadline of a whole call: credentials, all attempts and the pauses between them. */
const CALL_TIMEOUT_MS = 60_000;

/** The parameter of `ECSClient.send`. */
type Command<I extends ServiceInputTypes, O extends ServiceOutputTypes> = Parameters<
  typeof ECSClient.prototype.send<I, O>
>[0];

/** Implements `EcsApi` with the AWS SDK. Only this folder uses the SDK. */
export async function createSdkEcsApi(sdk: Sdk, settings: EcsSettings, deps: EcsDeps): Promise<EcsApi> {
  const { clock } = deps;
  const files = await readConfigFiles(deps.env).catch(() => null);
  const network = awsNetwork(deps.env);
  let clockSkewMs: number | null = null;
  const onDate = (ms: number) => {
    clockSkewMs = clock.wallMs() - ms;
  };
  const common = { network, files, onDate, ...deps };
  const queries = openClient(sdk, settings, { maxAttempts: MAX_ATTEMPTS, ...common });
  // StartTask has no client token: a retry after a lost answer would start the tasks twice.
  const starting = openClient(sdk, settings, { maxAttempts: 1, ...common });

  async function send<I extends ServiceInputTypes, O extends ServiceOutputTypes, T>(
    action: string,
    command: Command<I, O>,
    signal: AbortSignal,
    parse: (answer: O) => T,
    { client, place } = queries,
  ): Promise<T> {
    const { cluster = null, taskDefinition = null } = command.input as { cluster?: string; taskDefinition?: string };
    const call = (): EcsCall => ({
      action: `ecs:${action}`,
      cluster,
      taskDefinition,
      proxy: network.proxy,
      ...settings,
      ...place(),
    });
    signal.throwIfAborted();
    try {
      const answer = await withDeadline(clock, CALL_TIMEOUT_MS, signal, action, (abortSignal) =>
        client.send(command, { abortSignal }),
      );
      return parseWhole(answer, parse);
    } catch (error) {
      signal.throwIfAborted();
      throw translateEcsError(call(), error);
    }
  }

  return {
    get label() {
      const { region, endpoint } = queries.place();
      return `ECS${region === null ? '' : ` in ${region}`}${endpoint === null ? '' : ` at ${endpoint}`}`;
    },
    clockSkewMs: () => clockSkewMs,
    listClusters: (page, signal) => {
      const command = new sdk.ListClustersCommand({ maxResults: PAGE, ...pageToken(page) });
      return send('ListClusters', command, signal, (answer) => parsePage(answer.clusterArns, answer.nextToken));
    },
    listContainerInstances: (cluster, page, signal, filter) => {
      const input = { cluster, maxResults: PAGE, ...pageToken(page), ...(filter === undefined ? {} : { filter }) };
      const command = new sdk.ListContainerInstancesCommand(input);
      return send('ListContainerInstances', command, signal, (answer) =>
        parsePage(answer.containerInstanceArns, answer.nextToken),
      );
    },
    describeContainerInstances: (cluster, arns, signal) => {
      const command = new sdk.DescribeContainerInstancesCommand({ cluster, containerInstances: [...arns] });
      return send('DescribeContainerInstances', command, signal, (answer) =>
        parseDescribed(cluster, arns, answer, settings.keepWhole),
      );
    },
    updateContainerInstancesState: (cluster, arns, status, signal) => {
      const input = { cluster, containerInstances: [...arns], status };
      const command = new sdk.UpdateContainerInstancesStateCommand(input);
      return send('UpdateContainerInstancesState', command, signal, (answer) => parseDescribed(cluster, arns, answer));
    },
    putAttributes: (cluster, arn, attributes, signal) => {
      const named = attributes.map(({ name, value }) => ({
        ...attributeTarget(arn, name),
        ...(value === null ? {} : { value }),
      }));
      return send('PutAttributes', new sdk.PutAttributesCommand({ cluster, attributes: named }), signal, () => {});
    },
    deleteAttributes: (cluster, arn, names, signal) => {
      const attributes = names.map((name) => attributeTarget(arn, name));
      return send('DeleteAttributes', new sdk.DeleteAttributesCommand({ cluster, attributes }), signal, () => {});
    },
    describeTaskDefinition: (taskDefinition, signal) => {
      const command = new sdk.DescribeTaskDefinitionCommand({ taskDefinition });
      return send('DescribeTaskDefinition', command, signal, (answer) => parseDefinedTask(answer.taskDefinition));
    },
    startTask: (cluster, taskDefinition, arns, signal) => {
      const command = new sdk.StartTaskCommand({ cluster, taskDefinition, containerInstances: [...arns] });
      return send('StartTask', command, signal, (answer) => parseStarted(arns, answer), starting);
    },
    close: () => {
      for (const { client } of [queries, starting]) client.destroy();
    },
  };
}

function pageToken(page: string | null): { readonly nextToken?: string } {
  return page === null ? {} : { nextToken: page };
}

/** `targetType` is for a short id only; with it some ECS endpoints refuse a whole ARN. */
function attributeTarget(arn: string, name: string) {
  return { name, targetId: arn };
}

/** A parser may throw any error for a value of an undocumented type. Each means that the answer is invalid. */
function parseWhole<O, T>(answer: O, parse: (answer: O) => T): T {
  try {
    return parse(answer);
  } catch (error) {
    throw error instanceof AnswerError ? error : new AnswerError('it does not have the form that AWS documents');
  }
}
