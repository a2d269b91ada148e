import type { Interruption } from '../record/record.ts';
import { parseInstant } from './parse-instant.ts';
import { parseObject } from './parse-object.ts';
import { quote } from './quote.ts';
import { SourceError } from './source-error.ts';

/**
 * `{"action":"terminate","time":"…"}`, two minutes ahead; `stop` and `hibernate` too:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
 * @throws SourceError when it is not that; a time that cannot be read is unknown, for the notice stands without it
 */
export function parseSpotNotice(text: string): Interruption {
  const { action, time } = parseObject('IMDS spot/instance-action', text);
  if (typeof action !== 'string' || !/^[a-z]{1,32}$/.test(action)) {
    throw new SourceError(`IMDS spot/instance-action: action: expected an action, got ${quote(text)}`);
  }
  return { kind: 'spot-interruption', action, time: typeof time === 'string' ? parseInstant(time) : null };
}
