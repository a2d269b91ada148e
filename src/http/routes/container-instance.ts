import { instanceJson } from '../../record/instance-json.ts';
import { INSTANCE_ID } from '../../record/read-record.ts';
import type { Registry } from '../../registry/registry.ts';
import { problem } from '../problem.ts';
import { readRoll, unavailable } from '../read-roll.ts';
import { type Handler, jsonReply } from '../reply.ts';

/** One node by its instance id, whatever its presence. */
export function containerInstance(registry: Pick<Registry, 'read'>): Handler {
  return async (request) => {
    const { path: instance, params } = request;
    const id = params['id'] ?? '';
    if (!INSTANCE_ID.test(id)) {
      const detail = `${JSON.stringify(id.slice(0, 64))} is not an instance id; one is i- or mi- and 8 to 32 hex digits`;
      return problem(400, detail, { instance });
    }
    const read = await readRoll(registry, request);
    if ('status' in read) return read;
    const { roll, ageMs, stale } = read;
    const entry = roll.entries.find(({ record }) => record.ec2InstanceId === id);
    if (entry) return jsonReply({ containerInstance: instanceJson(entry), revision: roll.revision, ageMs, stale });
    const detail = `${id} is not on the roll at revision ${roll.revision}`;
    // What was not there a while ago may be there now.
    return stale ? unavailable(`${detail}, which is ${ageMs} ms old`, instance) : problem(404, detail, { instance });
  };
}
