import { DIFFERENCE_KINDS, NOTE_KINDS } from '../../audit/audit-report.ts';
import { HEALTH_STATUSES } from '../../record/record.ts';
import { ATTRIBUTES_STATES, DRAIN_PHASES, LEASE_STATES } from '../agent-report.ts';
import { differenceSchema, eventSchema, uncertaintySchema } from './event-schema.ts';
import {
  count,
  flag,
  instant,
  listOf,
  mapOf,
  objectOf,
  oneOf,
  orNull,
  type Ref,
  revision,
  type Schema,
  text,
} from './json-schema.ts';
import { instanceId, instanceSchema, presenceSchema, recordSchema } from './record-schema.ts';

const healthStatus = oneOf(HEALTH_STATUSES);
const numbers = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, count()]));
const age = count('The roll is at most this old');
const stale = flag('The store does not answer: this is the last known roll');

const problem = {
  description: 'RFC 9457. The detail names the cause, the value and what is allowed',
  ...objectOf(
    { type: text(), title: text(), status: { type: 'integer' }, detail: text(), instance: text('The path') },
    ['instance'],
  ),
};

const nodeCounts = numbers(['present', 'passing', 'warning', 'critical', 'lost', 'departed']);

const place = { cluster: orNull(text()), availabilityZone: orNull(text()) };

const statusNode = {
  ec2InstanceId: instanceId,
  privateIpAddress: orNull(text()),
  ...place,
  health: healthStatus,
};

const byOwnClock = flag(
  'The instant is by the node’s own clock, which is not compared with EC2’s; false: it is on EC2’s',
);

function statusSchema(ref: Ref): Schema {
  return {
    description: 'How the fleet is: its numbers, and at most 100 nodes of each kind to look at, and 5,000 drains',
    ...objectOf({
      revision,
      ageMs: age,
      stale,
      uncertainty: orNull(ref('Uncertainty')),
      nodes: objectOf(nodeCounts),
      groups: listOf(objectOf({ ...place, ...nodeCounts })),
      lost: listOf(objectOf(statusNode)),
      departed: listOf(objectOf({ ...statusNode, cause: text(), at: instant(), byOwnClock })),
      unhealthy: listOf(objectOf({ ...statusNode, check: text(), reason: text(), since: instant(), byOwnClock })),
      notices: listOf(objectOf({ ...statusNode, kind: text(), action: orNull(text()), time: orNull(text()) })),
      noticed: count(),
      store: objectOf({
        url: text('Without its password'),
        id: orNull(text()),
        version: orNull(text()),
        members: orNull(listOf(text())),
        leader: orNull(text()),
      }),
      drains: orNull(
        listOf(
          objectOf({
            ec2InstanceId: text(),
            privateIpAddress: orNull(text()),
            availabilityZone: orNull(text()),
            cluster: orNull(text()),
            phase: orNull(text()),
            reason: text(),
            since: orNull(text()),
          }),
        ),
      ),
      draining: orNull(count()),
      audit: orNull(
        objectOf({
          leader: orNull(text()),
          finishedAt: orNull(instant()),
          error: orNull(text()),
          agreeing: count(),
          undecided: count(),
          differences: objectOf(numbers(DIFFERENCE_KINDS)),
        }),
      ),
      notes: listOf(text()),
    }),
  };
}

const lease = objectOf({
  store: text('Without its password'),
  state: oneOf(LEASE_STATES),
  reason: text(),
  believedGood: flag(),
  ttlMs: count(),
  lastBeatAgeMs: orNull(count()),
  lastError: orNull(text()),
  counts: objectOf(numbers(['registrations', 'losses', 'beats', 'failedBeats', 'recordWrites', 'storeErrors'])),
});

function selfSchema(ref: Ref): Schema {
  const source = { name: text(), ageMs: orNull(count()), lastError: orNull(text()), lastDurationMs: orNull(count()) };
  return {
    description: 'What the agent knows of its own node and of itself; needs no store',
    ...objectOf({
      version: text(),
      session: text(),
      startedAt: instant(),
      record: orNull(ref('Record')),
      lease,
      checks: listOf(
        objectOf({
          name: text(),
          status: healthStatus,
          reason: text(),
          since: instant(),
          published: flag('It is in the record'),
          ageMs: orNull(count()),
          lastDurationMs: orNull(count()),
          ...numbers(['looks', 'failures']),
        }),
      ),
      interruption: orNull(objectOf({ kind: text(), action: orNull(text()), time: orNull(text()) })),
      sources: listOf(objectOf({ ...source, ...numbers(['reads', 'failures']) })),
      drain: orNull(objectOf({ state: oneOf(DRAIN_PHASES), reason: text(), since: instant() })),
      ecsAttributes: orNull(
        objectOf({ state: oneOf(ATTRIBUTES_STATES), reason: text(), lastWrite: orNull(instant()) }),
      ),
      loops: listOf(objectOf({ name: text(), ageMs: count(), limitMs: count() })),
      roll: objectOf({
        watching: flag(),
        ageMs: orNull(count()),
        stale: flag(),
        nodes: orNull(objectOf(numbers(['present', 'departed', 'lost']))),
        uncertainty: orNull(ref('Uncertainty')),
        heldLosses: count(),
        eventReaders: count(),
        lastError: orNull(text()),
      }),
    }),
  };
}

const agent = objectOf({ session: text(), instanceId: orNull(text()) });

const audit: Schema = {
  description: 'What the continuous audit found last, whichever agent made it',
  ...objectOf({
    report: objectOf({
      schemaVersion: { const: 1 },
      clusters: listOf(text()),
      startedAt: instant(),
      finishedAt: instant(),
      revision,
      agreeing: count(),
      elsewhere: count(),
      differences: listOf(differenceSchema(DIFFERENCE_KINDS)),
      notes: listOf(differenceSchema(NOTE_KINDS)),
      omitted: mapOf(count(), 'How many more there were of each kind'),
    }),
    by: agent,
    ageMs: orNull(count()),
    stale: flag(),
    staleReason: orNull(text()),
    revision,
    intervalMs: count(),
    lastRun: objectOf({ by: agent, endedAt: instant(), error: orNull(text()) }),
    leader: orNull(agent),
    broken: orNull(text()),
  }),
};

/** All schemas by name. @param ref names one of them */
export function answerSchemas(ref: Ref): Readonly<Record<string, Schema>> {
  return {
    Record: recordSchema,
    Presence: presenceSchema,
    Instance: instanceSchema(ref('Presence')),
    Uncertainty: uncertaintySchema,
    Event: eventSchema(ref),
    Roll: objectOf({
      containerInstances: listOf(ref('Instance'), 'In the order of their ids'),
      revision,
      ageMs: age,
      stale,
      uncertainty: orNull(ref('Uncertainty')),
      skipped: listOf(objectOf({ key: text(), reason: text() }), 'Keys of the store that could not be read'),
      notes: listOf(text(), 'A line for each cluster, zone and label asked for that no node has'),
      next: orNull({ ...instanceId, description: 'The `after` of the next page; null: these are all' }),
    }),
    OneInstance: objectOf({ containerInstance: ref('Instance'), revision, ageMs: age, stale }),
    NodeEvents: objectOf({
      events: listOf(ref('Event'), 'Newest first; the time of each is when this agent saw it'),
      omitted: count('So many older ones are in the log too'),
      since: instant('The log has every event that the agent saw after this'),
      begun: instant('When the agent began its log, from the roll as it was then; anew where it could not follow'),
      revision,
      ageMs: age,
      stale,
    }),
    Targets: {
      description: 'Scrape targets for Prometheus, as its http_sd takes them',
      ...listOf(objectOf({ targets: listOf(text()), labels: mapOf(text()) })),
    },
    Status: statusSchema(ref),
    Self: selfSchema(ref),
    Audit: audit,
    Problem: problem,
  };
}

/** One schema as a document of its own, with those that it names. */
export function schemaDocument(name: 'Record' | 'Event'): Schema {
  const schemas = answerSchemas((other) => ({ $ref: `#/$defs/${other}` }));
  const { Record, Presence, Uncertainty } = schemas;
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: `urn:rollcall:schema:${name.toLowerCase()}:1`,
    title: `rollcall ${name.toLowerCase()}`,
    ...schemas[name],
    ...(name === 'Event' ? { $defs: { Record, Presence, Uncertainty } } : {}),
  };
}
