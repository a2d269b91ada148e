import { DIFFERENCE_KINDS } from '../audit/audit-report.ts';
import type { FleetStatus } from '../audit/fleet-answer.ts';
import { isAddress } from '../record/address.ts';
import { field, freeText, optionalFreeText } from '../record/codec.ts';
import { HEALTH_STATUSES } from '../record/record.ts';
import type { NodeCounts, StatusNode } from '../record/roll-status.ts';
import { readInstanceId, readUncertainty } from './wire.ts';

type Json = Readonly<Record<string, unknown>>;

/** Parses the body of `/v1/status`. @throws FieldError, SyntaxError if the text is not JSON */
export function parseFleetStatus(text: string): FleetStatus {
  const from = field.object(JSON.parse(text), 'body');
  const list = <T>(name: string, read: (item: Json) => T): readonly T[] =>
    field.list(from[name], name).map((item) => read(field.object(item, name)));
  const revision = freeText(from['revision'], 'revision');
  const notices = list('notices', (item) => ({
    ...readNode(item),
    ...readTexts(item, ['kind']),
    action: optional(item, 'action'),
    time: optional(item, 'time'),
  }));
  const drains =
    from['drains'] === null
      ? null
      : list('drains', (item) => ({
          ec2InstanceId: readInstanceId(item['ec2InstanceId'], 'drains.ec2InstanceId'),
          ...readTexts(item, ['reason']),
          privateIpAddress: address(item),
          availabilityZone: optional(item, 'availabilityZone'),
          cluster: optional(item, 'cluster'),
          phase: optional(item, 'phase'),
          since: optional(item, 'since'),
        }));
  return {
    revision,
    ageMs: field.number(from['ageMs'], 'ageMs'),
    stale: from['stale'] === true,
    uncertainty: field.optional(from['uncertainty'], 'uncertainty', readUncertainty),
    nodes: readCounts(field.object(from['nodes'], 'nodes')),
    groups: list('groups', (item) => ({
      cluster: optional(item, 'cluster'),
      availabilityZone: optional(item, 'availabilityZone'),
      ...readCounts(item),
    })),
    lost: list('lost', readNode),
    departed: list('departed', (item) => ({
      ...readNode(item),
      ...readTexts(item, ['cause', 'at']),
      ...readClock(item),
    })),
    unhealthy: list('unhealthy', (item) => ({
      ...readNode(item),
      ...readTexts(item, ['check', 'reason', 'since']),
      ...readClock(item),
    })),
    notices,
    // An earlier version has no such numbers.
    noticed: field.number(from['noticed'] ?? notices.length, 'noticed'),
    store: storeAnswer(field.object(from['store'], 'store')),
    drains,
    draining: drains && field.number(from['draining'] ?? drains.length, 'draining'),
    audit: field.optional(from['audit'], 'audit', auditAnswer),
    notes: freeTexts(from['notes'], 'notes'),
  };
}

function readCounts(from: Json): NodeCounts {
  const count = (name: keyof NodeCounts) => field.number(from[name], name);
  return {
    present: count('present'),
    passing: count('passing'),
    warning: count('warning'),
    critical: count('critical'),
    lost: count('lost'),
    departed: count('departed'),
  };
}

function readNode(from: Json): StatusNode {
  return {
    ec2InstanceId: readInstanceId(from['ec2InstanceId'], 'ec2InstanceId'),
    privateIpAddress: address(from),
    cluster: optional(from, 'cluster'),
    availabilityZone: optional(from, 'availabilityZone'),
    health: field.oneOf(HEALTH_STATUSES, from['health'], 'health'),
  };
}

/** An earlier version has instants as the node gave them. */
function readClock(from: Json): { readonly byOwnClock: boolean } {
  return { byOwnClock: from['byOwnClock'] !== false };
}

function storeAnswer(from: Json): FleetStatus['store'] {
  const members = from['members'];
  return {
    url: freeText(from['url'], 'store.url'),
    id: optional(from, 'id'),
    version: optional(from, 'version'),
    members: members === null ? null : freeTexts(members, 'store.members'),
    leader: optional(from, 'leader'),
  };
}

function auditAnswer(from: Json): NonNullable<FleetStatus['audit']> {
  const counted = field.object(from['differences'], 'audit.differences');
  const differences = DIFFERENCE_KINDS.map((kind) => [kind, field.number(counted[kind], `audit.differences.${kind}`)]);
  return {
    leader: optional(from, 'leader'),
    finishedAt: optional(from, 'finishedAt'),
    error: optional(from, 'error'),
    agreeing: field.number(from['agreeing'], 'audit.agreeing'),
    undecided: field.number(from['undecided'] ?? 0, 'audit.undecided'),
    differences: Object.fromEntries(differences),
  };
}

function readTexts<Name extends string>(from: Json, names: readonly Name[]): { readonly [N in Name]: string } {
  return Object.fromEntries(names.map((name) => [name, freeText(from[name], name)])) as { [N in Name]: string };
}

function optional(from: Json, name: string): string | null {
  return optionalFreeText(from[name], name);
}

function freeTexts(value: unknown, path: string): readonly string[] {
  return field.list(value, path).map((text) => freeText(text, path));
}

/** null also for what is no address. */
function address(from: Json): string | null {
  const text = optional(from, 'privateIpAddress');
  return text !== null && isAddress(text) ? text : null;
}
