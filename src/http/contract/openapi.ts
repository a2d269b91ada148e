import type { FilterName } from '../../record/filter.ts';
import { HEALTH_STATUSES } from '../../record/record.ts';
import { PRESENCE_STATES } from '../../record/roll.ts';
import { DEFAULT_NODE_EVENTS, MAX_LIMIT, MAX_NODE_EVENTS } from '../query.ts';
import { answerSchemas } from './answer-schemas.ts';
import type { Schema } from './json-schema.ts';

const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
const parameterRef = (name: string): Schema => ({ $ref: `#/components/parameters/${name}` });

const FILTERS: Readonly<Record<FilterName, string>> = {
  cluster: 'Names or ARNs of ECS clusters, comma-separated or repeated',
  health: HEALTH_STATUSES.join(', '),
  presence: `${PRESENCE_STATES.join(', ')}, or all`,
  az: 'Names of availability zones',
  selector: 'Conditions on labels, which must all be met: key=value, key!=value, key, !key',
};
const filters = Object.keys(FILTERS).map(parameterRef);

const query = (name: string, description: string, schema: Schema = { type: 'string' }): Schema => ({
  name,
  in: 'query',
  description,
  schema,
});

const body = (type: string, schema: Schema): Schema => ({ content: { [type]: { schema } } });
const json = (schema: Schema) => body('application/json', schema);
const textual = { type: 'string' };

interface Options {
  readonly parameters?: readonly Schema[];
  /** The answer has a tag. */
  readonly tagged?: boolean;
  /** More answers by status. */
  readonly also?: Readonly<Record<string, string>>;
  /** It needs neither a token nor a client certificate. */
  readonly open?: boolean;
}

function get(operationId: string, summary: string, content: Schema, options: Options = {}): Schema {
  const { parameters = [], tagged = false, also = {}, open = false } = options;
  const problems = Object.entries({ ...also, default: 'Another problem' }).map(([status, description]) => [
    status,
    { description, ...body('application/problem+json', ref('Problem')) },
  ]);
  const tag = { headers: { ETag: { schema: textual } } };
  return {
    get: {
      operationId,
      summary,
      ...(open ? { security: [] } : {}),
      ...(parameters.length === 0 && !tagged
        ? {}
        : { parameters: [...parameters, ...(tagged ? [parameterRef('known')] : [])] }),
      responses: {
        200: { description: 'The answer', ...(tagged ? tag : {}), ...content },
        ...(tagged ? { 304: { description: 'The reader has the answer; it may differ in ageMs only', ...tag } } : {}),
        ...Object.fromEntries(problems),
      },
    },
  };
}

const instanceIdParameter = { name: 'id', in: 'path', required: true, description: 'Instance id', schema: textual };
const types = query('types', 'Kinds of events, such as lost,health');

const NOT_KNOWN = { 503: 'The roll is not known: never an empty list instead' };
const REFUSED = { 400: 'A parameter is unknown or has a wrong value', ...NOT_KNOWN };
const okay = (status: string) =>
  json({ type: 'object', properties: { status: { const: status } }, required: ['status'] });

/** The contract of an agent's HTTP port, OpenAPI 3.1. @param version of the agent */
export function openApiDocument(version: string): Schema {
  return {
    openapi: '3.1.1',
    info: {
      title: 'rollcall agent',
      version,
      description:
        'The roll of ECS container instances, as any agent has it. GET and HEAD only. Readers ignore fields they do not know.',
    },
    security: [{}, { token: [] }, { clientCertificate: [] }],
    paths: {
      '/v1/containerInstances': get('listContainerInstances', 'The roll, or a page of it', json(ref('Roll')), {
        parameters: [
          ...filters,
          query('limit', 'At most so many nodes, in the order of their ids', {
            type: 'integer',
            minimum: 1,
            maximum: MAX_LIMIT,
          }),
          query('after', 'Only nodes whose instance id comes after this one'),
        ],
        tagged: true,
        also: REFUSED,
      }),
      '/v1/containerInstances/{id}': get(
        'getContainerInstance',
        'One node, whatever its presence',
        json(ref('OneInstance')),
        {
          parameters: [instanceIdParameter],
          tagged: true,
          also: { 400: 'Not an instance id', 404: 'Not on the roll', ...NOT_KNOWN },
        },
      ),
      '/v1/containerInstances/{id}/events': get(
        'listNodeEvents',
        'The newest events of one node that the agent has in its log, also of one that is not on the roll any more',
        json(ref('NodeEvents')),
        {
          parameters: [
            instanceIdParameter,
            types,
            query('limit', 'At most so many', {
              type: 'integer',
              minimum: 1,
              maximum: MAX_NODE_EVENTS,
              default: DEFAULT_NODE_EVENTS,
            }),
          ],
          tagged: true,
          also: REFUSED,
        },
      ),
      '/v1/status': get('getStatus', 'The fleet on one page', json(ref('Status')), {
        parameters: filters,
        tagged: true,
        also: REFUSED,
      }),
      '/v1/self': get('getSelf', 'This node and its agent', json(ref('Self'))),
      '/v1/events': get(
        'watchEvents',
        'What happens, as Server-Sent Events: the data of each is an Event in JSON, but of the type `error`',
        body('text/event-stream', textual),
        {
          parameters: [
            ...filters,
            query('since', 'Only what happened after this revision; without it a snapshot comes first'),
            types,
            query('uncertain', 'hold: of many losses at once none is sent before it is certain', { const: 'hold' }),
            { name: 'Last-Event-ID', in: 'header', description: 'As since, and before it', schema: textual },
          ],
          also: { ...REFUSED, 503: 'The roll is not known, or there are too many readers' },
        },
      ),
      '/v1/targets': get('listTargets', 'Scrape targets for Prometheus: always the full list', json(ref('Targets')), {
        parameters: [
          ...filters,
          query('port', 'Of each target; default that of the request', {
            type: 'integer',
            minimum: 1,
            maximum: 65_535,
          }),
        ],
        tagged: true,
        also: REFUSED,
      }),
      '/v1/audit': get('getAudit', 'The roll against ECS', json(ref('Audit')), {
        also: {
          404: 'This agent takes no part in the continuous audit',
          503: 'There is no result, or the store does not answer',
        },
      }),
      '/healthz': get('getHealth', 'The loops of the agent make progress', okay('ok'), {
        open: true,
        also: { 503: 'A loop is stuck' },
      }),
      '/readyz': get('getReadiness', 'The node is registered and its lease is good', okay('ready'), {
        also: { 503: 'It is not; the detail says why' },
      }),
      '/metrics': get('getMetrics', 'Metrics for Prometheus', body('text/plain', textual)),
      '/openapi.json': get('getContract', 'This document', json({ type: 'object' }), { tagged: true }),
      '/plain': get('getPlainTable', 'The roll as a table of HTML', body('text/html', textual), {
        parameters: filters,
        also: REFUSED,
      }),
      '/': get('getBoard', 'For a browser the fleet board, else the paths as text', {
        content: { 'text/html': { schema: textual }, 'text/plain': { schema: textual } },
      }),
    },
    components: {
      schemas: answerSchemas(ref),
      parameters: {
        ...Object.fromEntries(Object.entries(FILTERS).map(([name, description]) => [name, query(name, description)])),
        known: {
          name: 'If-None-Match',
          in: 'header',
          description: 'The ETag of an answer that the reader has kept',
          schema: textual,
        },
      },
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer' },
        clientCertificate: { type: 'mutualTLS' },
      },
    },
  };
}
