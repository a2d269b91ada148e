import { InvalidArgumentError } from 'commander';
import type { Constraint } from '../placement/constraint.ts';

/** Of a label, of `az` and `instance-type`, or of an attribute in ECS behind `attribute:`. */
const NAME = /^(?:attribute:)?[A-Za-z0-9][A-Za-z0-9._/-]{0,127}/;
/** What labels and ECS's attributes may hold, less the comma: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Attribute.html */
const VALUE = /^[A-Za-z0-9_.:/@\\+ -]{1,128}$/;

/** `NAME==VALUE` and `NAME!=VALUE`, several apart by commas or by repeating the flag; spaces around each part are nothing. */
export function constraints(text: string, previous: readonly Constraint[] = []): readonly Constraint[] {
  let from = 0;
  const parsed = text.split(',').map((part) => {
    const constraint = parseOne(part, from);
    from += part.length + 1;
    return constraint;
  });
  return [...previous, ...parsed];
}

/** @param from where in the whole text the part begins, from 0 */
function parseOne(part: string, from: number): Constraint {
  const wrong = (at: number, expected: string) =>
    new InvalidArgumentError(
      `Position ${from + at + 1}: expected ${expected}; write NAME==VALUE or NAME!=VALUE, such as role==node.`,
    );
  const start = part.length - part.trimStart().length;
  const name = NAME.exec(part.slice(start))?.[0];
  if (name === undefined) throw wrong(start, 'the name of a label, az, instance-type or attribute:NAME');
  const operatorAt = start + name.length + (/^ */.exec(part.slice(start + name.length))?.[0].length ?? 0);
  const operator = part.slice(operatorAt, operatorAt + 2);
  if (operator !== '==' && operator !== '!=') throw wrong(operatorAt, '== or !=');
  const value = part.slice(operatorAt + 2).trim();
  if (!VALUE.test(value)) throw wrong(operatorAt + 2, 'a value of 1 to 128 of A-Z a-z 0-9 _ . : / @ \\ + - and space');
  return { name, operator, value };
}
