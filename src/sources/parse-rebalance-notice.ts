import type { Interruption } from '../record/record.ts';
import { parseInstant } from './parse-instant.ts';
import { parseObject } from './parse-object.ts';
import { quote } from './quote.ts';
import { SourceError } from './source-error.ts';

/**
 * `{"noticeTime":"…"}`: the spot instance is at a higher risk of an interruption since then:
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html
 * @throws SourceError when it is not that
 */
export function parseRebalanceNotice(text: string): Interruption {
  const { noticeTime } = parseObject('IMDS events/recommendations/rebalance', text);
  if (typeof noticeTime !== 'string') {
    throw new SourceError(`IMDS events/recommendations/rebalance: noticeTime: expected an instant, got ${quote(text)}`);
  }
  return { kind: 'rebalance-recommendation', action: null, time: parseInstant(noticeTime) };
}
