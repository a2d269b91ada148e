import { isIP } from 'node:net';
import { quote } from '../lib/errors.ts';
import type { RollEntry } from './roll.ts';

/** What a name of a node finds. `refusal`: one line, the text cannot name a node, or names several. */
type FoundNode =
  | { readonly kind: 'found'; readonly entry: RollEntry }
  | { readonly kind: 'absent' }
  | { readonly kind: 'refused'; readonly refusal: string };

const ID_START = /^m?i-[0-9a-f]{1,32}$/;
const LONG_ID = /^m?i-[0-9a-f]{17,32}$/;
/** fleet prints the first 8 digits of a machine id. */
const MACHINE_START = /^[0-9a-f]{8,32}$/;
const INSTANCE_ARN = /^arn:[^:\s]+:ecs:[^:\s]+:\d+:container-instance\/\S+$/;

/**
 * The node that an operator means: by its instance id or a start of it that no other node has, its private or public
 * address, the ARN of its container instance, its machine id or a start of that. An address may be that of a node that is
 * gone, too: the present node has it.
 */
export function findNode(entries: readonly RollEntry[], text: string): FoundNode {
  const matches = matcherOf(text);
  if (matches === null) {
    const refusal = `${quote(text)} is not an instance id or its start, an address, an ARN or a machine id; rollcall list prints them`;
    return { kind: 'refused', refusal };
  }
  const exact = entries.find(({ record }) => record.ec2InstanceId === text);
  if (exact) return { kind: 'found', entry: exact };
  const all = entries.filter(matches);
  const present = all.filter(({ presence }) => presence !== null);
  const [entry] = isIP(text) !== 0 && present.length > 0 ? present : all;
  if (entry === undefined) return { kind: 'absent' };
  const isOne = all.length === 1 || (isIP(text) !== 0 && present.length === 1);
  return isOne ? { kind: 'found', entry } : { kind: 'refused', refusal: severalNodes(text, all) };
}

/** An instance id that is no start of another: EC2 and SSM give none that is longer; one of 8 digits may be a start. */
export function isLongId(text: string): boolean {
  return LONG_ID.test(text);
}

function matcherOf(text: string): ((entry: RollEntry) => boolean) | null {
  if (ID_START.test(text)) return ({ record }) => record.ec2InstanceId.startsWith(text);
  if (MACHINE_START.test(text)) {
    // The last part of an ARN has 32 such digits, too.
    return ({ record }) =>
      record.machineId?.startsWith(text) === true || record.containerInstanceArn?.endsWith(`/${text}`) === true;
  }
  if (isIP(text) !== 0) return ({ record }) => record.privateIpAddress === text || record.publicIpAddress === text;
  if (INSTANCE_ARN.test(text)) return ({ record }) => record.containerInstanceArn === text;
  return null;
}

const MAX_CANDIDATES = 10;

function severalNodes(text: string, entries: readonly RollEntry[]): string {
  const names = entries
    .slice(0, MAX_CANDIDATES)
    .map(({ record }) => `${record.ec2InstanceId} (${record.privateIpAddress ?? 'no address'})`);
  const more = entries.length - names.length;
  return `${quote(text)} names ${entries.length} nodes: ${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}; use a whole instance id`;
}
