import { FieldError, field } from '../record/field.ts';
import type { InstanceJson } from '../record/instance-json.ts';
import type { SkippedKey } from '../record/roll.ts';
import { readInstance } from './read-instance.ts';
import { readUncertainty } from './read-uncertainty.ts';
import type { RollList } from './rollcall-client.ts';

/**
 * The body of `/v1/containerInstances`. A node that this reader cannot read, because a newer agent wrote it, is skipped
 * and named, as in a store.
 * @throws FieldError, SyntaxError when it is not JSON
 */
export function parseRollList(text: string): RollList {
  const from = field.object(JSON.parse(text), 'body');
  const containerInstances: InstanceJson[] = [];
  const skipped: SkippedKey[] = field.list(from['skipped'], 'skipped').map(readSkipped);
  for (const value of field.list(from['containerInstances'], 'containerInstances')) {
    try {
      containerInstances.push(readInstance(value));
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      skipped.push({ key: nameOf(value), reason: error.message });
    }
  }
  return {
    containerInstances,
    revision: field.text(from['revision'], 'revision'),
    ageMs: field.number(from['ageMs'], 'ageMs'),
    stale: from['stale'] === true,
    uncertainty: field.optional(from['uncertainty'], 'uncertainty', readUncertainty),
    skipped,
  };
}

function readSkipped(value: unknown): SkippedKey {
  const from = field.object(value, 'skipped');
  return { key: field.text(from['key'], 'skipped.key'), reason: field.text(from['reason'], 'skipped.reason') };
}

function nameOf(instance: unknown): string {
  const id = (instance as { ec2InstanceId?: unknown } | null)?.ec2InstanceId;
  return typeof id === 'string' ? id : 'containerInstances';
}
