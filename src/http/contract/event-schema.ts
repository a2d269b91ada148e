import { KEPT_DIFFERENCE_KINDS } from '../../record/difference.ts';
import { AUDIT_EVENT_KINDS, INSTANCE_EVENT_KINDS } from '../../record/events.ts';
import {
  count,
  flag,
  instant,
  listOf,
  objectOf,
  oneOf,
  orNull,
  type Ref,
  revision,
  type Schema,
  text,
} from './json-schema.ts';
import { instanceId } from './record-schema.ts';

export const uncertaintySchema: Schema = {
  description: 'So many nodes vanished at once that the store or the network may be what failed',
  ...objectOf({
    vanished: count(),
    nodes: count('Before'),
    limitShare: { type: 'number', minimum: 0, maximum: 1 },
    limitCount: count(),
    since: instant(),
    until: instant('When the losses become certain'),
  }),
};

/** @param kinds of a difference */
export function differenceSchema(kinds: readonly string[]): Schema {
  return objectOf({
    kind: oneOf(kinds),
    instanceId: orNull(instanceId),
    cluster: orNull(text()),
    containerInstanceArn: orNull(text()),
    privateIpAddress: orNull(text()),
    since: orNull(text('RFC 3339')),
    reason: text('One line'),
  });
}

/** An event as a CloudEvent 1.0, by its type. @param ref of Record, Presence and Uncertainty */
export function eventSchema(ref: Ref): Schema {
  const record = ref('Record');
  const previous = orNull(record);
  const changes = INSTANCE_EVENT_KINDS.filter((kind) => kind !== 'forgotten').map(
    (kind) => `rollcall.instance.${kind}`,
  );
  const about = { subject: { ...instanceId, description: 'The instance id' } };
  const node = objectOf({ record, previous, presence: ref('Presence'), uncertain: { const: true } }, ['uncertain']);
  const nothing = { type: 'null' };
  return {
    description: 'What happened to the roll: a CloudEvent 1.0. A new version may add types',
    oneOf: [
      event(oneOf(changes), node, about),
      event(
        { const: 'rollcall.instance.forgotten' },
        objectOf({ record: nothing, previous, presence: nothing }),
        about,
      ),
      event(
        { const: 'rollcall.roll.synced' },
        objectOf({ instanceIds: listOf(instanceId, 'The nodes on the roll; all others are gone') }),
      ),
      event({ const: 'rollcall.roll.uncertain' }, ref('Uncertainty')),
      event(
        { const: 'rollcall.roll.certain' },
        objectOf({
          upTo: { ...revision, description: 'Losses up to this revision are certain' },
          returned: count(),
          lost: count(),
        }),
      ),
      event(
        oneOf(AUDIT_EVENT_KINDS.map((kind) => `rollcall.audit.${kind}`)),
        differenceSchema(KEPT_DIFFERENCE_KINDS),
        { subject: text('The instance id, or without one the ARN') },
        ['subject'],
      ),
    ],
  };
}

function event(
  type: Schema,
  data: Schema,
  about: Readonly<Record<string, Schema>> = {},
  optional: readonly string[] = [],
): Schema {
  return objectOf(
    {
      specversion: { const: '1.0' },
      id: text('Follows from the revision: the same for all consumers of a store'),
      source: text(),
      type,
      ...about,
      time: instant('When the sending process saw it'),
      datacontenttype: { const: 'application/json' },
      revision,
      snapshot: { ...flag('The event says what is, not what just happened'), const: true },
      data,
    },
    ['snapshot', ...optional],
  );
}
