import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allCommands } from '../../scripts/docs.ts';
import { COMMAND_RULES, RULES } from '../../src/config/flags-without-effect.ts';
import { runInProcess } from '../support/run-in-process.ts';

/** Each is refused in one line that names the flag and why. */
const IDLE: readonly (readonly [string, RegExp])[] = [
  ['list -o json --fields ip', /--fields has no effect with -o json, which has no columns; leave it out/],
  ['list -o json --no-legend', /--no-legend has no effect with -o json, which has no header line; leave it out/],
  ['list --source ecs --cluster demo -o ndjson --no-legend', /--no-legend has no effect with -o ndjson/],
  ['list -o ndjson --fields ip', /--fields has no effect with -o ndjson/],
  ['list --source ecs --cluster demo -o json --fields arn', /--fields has no effect with -o json/],
  ['list --mass-loss-share off --mass-loss-count 3', /--mass-loss-count has no effect with --mass-loss-share off/],
  [
    'list --store sqlite:/tmp/none.db --timeout 1s',
    /--timeout has no effect with --store sqlite:.*, which is not etcd/,
  ],
  ['list --timeout 1s', /--timeout has no effect with --store sqlite:/],
  ['list --source ecs --cluster demo --timeout 1s', /--timeout cannot be used with --source ecs/],
  ['show i-12345678 --store sqlite:/tmp/none.db --timeout 1s', /--timeout has no effect/],
  [
    'list --agent http://127.0.0.1:1 --agent-ca-file /x',
    /--agent-ca-file has no effect with --agent http:.* not https/,
  ],
  ['watch --agent HTTP://127.0.0.1:1 --agent-key-file /x', /--agent-key-file has no effect with --agent .* not https/],
  ['watch --exec-timeout 5s', /--exec-timeout has no effect without --exec; leave it out/],
  ['watch --exec-retries 1', /--exec-retries has no effect without --exec/],
  ['agent --disk-warning 20', /--disk-warning has no effect without --disk/],
  ['agent --disk-critical 2', /--disk-critical has no effect without --disk/],
  ['agent --audit-clusters all', /--audit-clusters has no effect without --audit-interval/],
  ['agent --drain-max-share 5', /--drain-max-share has no effect without --drain-on/],
  ['agent --drain-on interruption --drain-critical-after 1m', /--drain-critical-after .* without --drain-on critical/],
  ['agent --region us-east-1', /--region has no effect without --audit-interval, --ecs-attributes or --drain-on/],
  ['agent --ssm-registration-file /x', /--ssm-registration-file has no effect without --identity ssm/],
  ['agent --identity ssm --allow-imds-v1', /--allow-imds-v1 has no effect with --identity ssm/],
  ['agent --identity mi-0123456789abcdef0 --notice-interval 9s', /--notice-interval has no effect with --identity mi-/],
  ['simulate --store sqlite:/tmp/none.db', /--store has no effect without --agents/],
  ['simulate --etcd-user root', /--etcd-user has no effect without --agents/],
];

for (const [line, pattern] of IDLE) {
  test(`refused: rollcall ${line}`, async () => {
    const { code, stdout, stderr } = await runInProcess(line.split(' '));
    assert.equal(code, 2, stderr);
    assert.match(stderr, pattern);
    assert.equal(stderr.trimEnd().split('\n').length, 1);
    assert.equal(stdout, '');
  });
}

test('each flag of a rule exists: in the command that the rule is for, or in any', () => {
  const flags = (name: string | null) =>
    allCommands()
      .filter((command) => name === null || command.name() === name)
      .flatMap(({ options }) => options.map((option) => option.attributeName()));
  const unknown = (rules: typeof RULES, name: string | null) =>
    rules.flatMap((rule) => rule.flags).filter((flag) => !flags(name).includes(flag));
  assert.deepEqual(unknown([{ flags: ['fields', 'feilds'], noEffect: () => null }], null), ['feilds']);
  assert.deepEqual(unknown(RULES, null), []);
  for (const [name, rules] of Object.entries(COMMAND_RULES)) assert.deepEqual(unknown(rules, name), [], name);
});

test('a variable may stay set for other commands, and what it says of a flag is named', async () => {
  const env = { ROLLCALL_FIELDS: 'ip', ROLLCALL_NO_LEGEND: 'true', ROLLCALL_TIMEOUT: '1s' };
  const read = await runInProcess(['list', '-o', 'json', '--store', 'memory:idle-flags'], { env });
  assert.equal(read.code, 0, read.stderr);
  const { code, stderr } = await runInProcess(['list', '--fields', 'ip'], { env: { ROLLCALL_OUTPUT: 'json' } });
  assert.equal(code, 2);
  assert.match(stderr, /--fields has no effect with ROLLCALL_OUTPUT=json/);
});

test('every flag that takes one value is refused when it is repeated, and no other', async () => {
  const repeatable: string[] = [];
  for (const command of allCommands()) {
    for (const option of command.options) {
      if (option.isBoolean() || option.negate) continue;
      const byDefault = [option.defaultValueDescription, option.defaultValue].find(
        (each) => each !== undefined && /^[^\s[]+$/.test(`${each}`),
      );
      const value = VALUES[option.attributeName()] ?? option.argChoices?.[0] ?? `${byDefault ?? 'x'}`;
      // Two checks may not have one name.
      const twice = [command.name(), option.long ?? '', value, option.long ?? '', value.replace(/^a=/, 'b=')];
      const { code, stderr } = await runInProcess([...twice, '--frobnicate']);
      assert.equal(code, 2, `${twice.join(' ')}: ${stderr}`);
      if (/unknown option '--frobnicate'/.test(stderr)) repeatable.push(`${command.name()} ${option.long}`);
      else assert.match(stderr, new RegExp(`${option.long} is given twice; give it once$`, 'm'), twice.join(' '));
    }
  }
  assert.deepEqual(repeatable.sort(), [
    ...['agent --check-exec', 'agent --check-http', 'agent --label', 'audit --cluster'],
    ...['dns --az', 'dns --by-label', 'dns --cluster', 'dns --health', 'dns --presence', 'dns --selector', 'dns --srv'],
    ...['list --az', 'list --cluster'],
    ...[
      'list --fields',
      'list --health',
      'list --presence',
      'list --selector',
      'list --sort-by',
      'place --constraint',
      'place --ports',
    ],
    ...['status --az', 'status --cluster', 'status --health', 'status --presence', 'status --selector'],
    ...['wait --az', 'wait --cluster', 'wait --health', 'wait --presence', 'wait --selector'],
    ...['watch --az', 'watch --cluster', 'watch --health', 'watch --presence', 'watch --selector', 'watch --types'],
  ]);
});

/** By their names in the parsed flags: what their parsers take, where the default is none or is no text. */
const VALUES: Readonly<Record<string, string>> = {
  agent: 'http://h:1',
  auditClusters: 'all',
  presence: 'lost',
  auditInterval: '5m',
  checkExec: 'a=/bin/true',
  checkHttp: 'a=http://127.0.0.1:1/',
  constraint: 'a==b',
  srv: 'http=80',
  byLabel: 'role',
  cpu: '1',
  disk: '/',
  drainOn: 'critical',
  fields: 'ip',
  http: 'http://h/',
  health: 'passing',
  identity: 'ec2',
  label: 'a=b',
  memory: '1',
  ports: '1',
  privateIp: '10.0.0.1',
  since: '1',
  timeout: '1s',
  types: 'lost',
};
