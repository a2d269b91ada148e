// A stand-in for the two calls of the aws CLI that a deployment makes, with --output text.
// AWS_STANDIN is a folder: `clusters` has the names of those that exist; `error` is what every call fails with.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const dir = process.env['AWS_STANDIN'] ?? '';
const [service = '', command = '', ...rest] = process.argv.slice(2);
const flag = (name: string) => rest[rest.indexOf(name) + 1] ?? '';
const clusters = () => readFileSync(join(dir, 'clusters'), 'utf8').split('\n');

appendFileSync(join(dir, 'calls.log'), `aws ${process.argv.slice(2).join(' ')}\n`);
// As version 1 does, which does not know AWS_REGION.
const region = process.env['AWS_DEFAULT_REGION'];
if (!region) {
  process.stderr.write('\nYou must specify a region. You can also configure your region by running "aws configure".\n');
  process.exitCode = 253;
} else if (existsSync(join(dir, 'error'))) {
  process.stderr.write(`\n${readFileSync(join(dir, 'error'), 'utf8')}\n`);
  process.exitCode = 255;
} else if (service === 'ecs' && command === 'describe-clusters') {
  const found = clusters().includes(flag('--clusters'));
  const arn = `arn:aws:ecs:${region}:123456789012:cluster/${flag('--clusters')}`;
  process.stdout.write(`${found ? 'ACTIVE\tNone' : 'None\tMISSING'}\t${arn}\n`);
} else if (service === 'ecs' && command === 'create-cluster') {
  appendFileSync(join(dir, 'clusters'), `${flag('--cluster-name')}\n`);
  process.stdout.write('ACTIVE\n');
} else {
  process.stderr.write(`\naws: error: argument operation: Invalid choice: ${service} ${command}\n`);
  process.exitCode = 2;
}
