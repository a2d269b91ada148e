import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import {
  canonicalUnit,
  fleetAnswers,
  type Machine,
  machineName,
  notStopped,
  outdatedLines,
  outdatedSessions,
  parseMachines,
  type RollNode,
  runCommand,
  unitDefect,
  unitStates,
  unlistedNodes,
  warnings,
} from '../../scripts/lib/deploy.ts';
import { parseUnit, serializeUnit } from '../support/fleetctl-units.ts';

/** A node that is present and healthy. */
function sampleNode(changes: Partial<RollNode> = {}): RollNode {
  return {
    ec2InstanceId: 'i-12345678',
    containerInstanceArn:
      'arn:aws:ecs:us-east-1:123456789012:container-instance/demo/6b107562-f96a-4528-94dd-81f93d812a63',
    cluster: 'demo',
    machineId: 'a'.repeat(32),
    privateIpAddress: '10.113.0.23',
    publicIpAddress: null,
    health: { status: 'passing' },
    departure: null,
    sidecar: { session: 'new' },
    presence: { state: 'present' },
    ...changes,
  };
}

const FILE = `# what it is
[Unit]
  Description = a unit
After=docker.service

[Service]
ExecStart=/usr/bin/docker run \\
    --name "two  blanks" \\
\timage
; a comment
Environment=A=b=c
ExecStop=
[X-Fleet]
Global=true
[Unit]
Wants=other.service`;

describe('canonical unit', () => {
  const OTHERS = {
    'another value': FILE.replace('image', 'image2'),
    'a blank within quotes': FILE.replace('two  blanks', 'two blanks'),
    'a setting less': FILE.replace('Wants=other.service', ''),
    'another order': FILE.replace('Environment=A=b=c\nExecStop=', 'ExecStop=\nEnvironment=A=b=c'),
    'another section': FILE.replace('[X-Fleet]', '[Service]'),
  };

  for (const [version, old] of [
    ['0.11', true],
    ['1.0', false],
  ] as const) {
    const registered = serializeUnit(parseUnit(FILE, old), !old);

    test(`a file equals the text that fleet ${version} has of it`, () => {
      assert.notEqual(registered, FILE);
      assert.deepEqual(canonicalUnit(registered), canonicalUnit(FILE));
    });

    for (const [name, other] of Object.entries(OTHERS)) {
      test(`${name} is a difference to the text that fleet ${version} has`, () => {
        assert.notEqual(other, FILE);
        assert.notDeepEqual(canonicalUnit(registered), canonicalUnit(other));
      });
    }
  }

  test('a comment that ends in a backslash includes the next line, as it does in fleet', () => {
    const text = '[Service]\n# path C:\\\nExecStart=/bin/true\nExecStop=/bin/false\n';
    assert.deepEqual(canonicalUnit(text), ['Service\tExecStop=/bin/false']);
  });

  test('a unit without settings has no lines', () => {
    assert.deepEqual(canonicalUnit(''), []);
    assert.deepEqual(canonicalUnit('# nothing\n[Unit]\n'), []);
  });
});

describe('unit defect', () => {
  const unit = (fleetPart: string) => `[Service]\nExecStart=/bin/true\n${fleetPart}\n`;

  test('a global unit has no defect', () => {
    assert.equal(unitDefect(unit('[X-Fleet]\nGlobal=true')), null);
    assert.equal(unitDefect(unit('[X-Fleet]\n# everywhere\n  Global = true')), null);
  });

  for (const part of [
    '',
    '[X-Fleet]',
    '[X-Fleet]\nGlobal=false',
    '[X-Fleet]\nGlobal=True',
    '[X-Fleet]\nGlobal=true # everywhere',
    '[X-Fleet]\nglobal=true',
    '[X-FLEET]\nGlobal=true',
    '[X-Fleet]\n# a path \\\nGlobal=true',
  ]) {
    test(`fleet would run it on one machine, without an error: ${JSON.stringify(part)}`, () => {
      assert.match(unitDefect(unit(part)) ?? '', /not a global unit.*Global=true/);
    });
  }

  test('a file that fleet would misread is refused', () => {
    assert.match(unitDefect(unit('[X-Fleet]\nGlobal=true').replaceAll('\n', '\r\n')) ?? '', /Windows line ends/);
    assert.match(unitDefect(unit('[X-Fleet]\nGlobal=true\nGlobal=false')) ?? '', /has Global= twice/);
    const global = unit('[X-Fleet]\nGlobal=true');
    const start = (command: string) => unitDefect(global.replace('/bin/true', command)) ?? '';
    assert.match(start('/bin/echo \\ \n  one'), /line 2 has a space behind its backslash/);
    assert.match(start('/bin/echo \\\n# why\n  one'), /line 3 is a comment inside a continued line/);
    assert.match(start(`/bin/echo ${'x'.repeat(2_040)}`), /line 2 is over 2048 bytes/);
    assert.equal(start('/bin/echo \\\n  one'), '');
    const only = (what: string) => unitDefect(`${global}${what}\n`) ?? '';
    assert.match(only('MachineMetadata=role=node'), /would run it on every machine: write "NAME=VALUE"/);
    assert.match(only('MachineOf=other.service'), /not for a global unit/);
    assert.equal(only('MachineMetadata="role=node" "rack=3"'), '');
    assert.match(unitDefect('') ?? '', /no settings/);
  });
});

describe('machines', () => {
  test('machines are read from fleetctl’s padded columns, with and without an address', () => {
    const machines = parseMachines('aa\t\t10.0.0.1\nbb\t-\n');
    assert.deepEqual(machines, [
      { id: 'aa', address: '10.0.0.1' },
      { id: 'bb', address: null },
    ]);
    assert.deepEqual(machines.map(machineName), ['10.0.0.1 (machine aa)', 'machine bb']);
  });

  test('an address is one, and no text of a machine can control a terminal', () => {
    const [odd, other] = parseMachines('aa\t-oProxyCommand=x\nbb\u001b]0;x\u0007\t10.0.0.1\n');
    assert.equal(odd?.address, null);
    assert.equal(other && machineName(other), '10.0.0.1 (machine bb?]0;x?)');
    const states = unitStates('a.service\tcc\u009b2J/-\tactive\trunning', ['a.service']);
    assert.deepEqual([...states.keys()], ['cc?2J']);
    assert.deepEqual(
      runCommand(['line'], () => 'a\u001b[2J  b\n\u202ec\n'),
      ['a?[2J b ?c'],
    );
  });

  test('the states of the wanted units are joined by machine', () => {
    const text = [
      'rollcall.service\taa/10.0.0.1\tfailed\t\tfailed',
      'other.service\t\taa/10.0.0.1\tactive\t\trunning',
      'amazon-ecs-agent.service\taa/10.0.0.1\tactive\t\trunning',
      'rollcall.service\tbb\t\tactive\t\trunning',
    ].join('\n');
    const states = unitStates(text, ['rollcall.service', 'amazon-ecs-agent.service']);
    assert.equal(states.get('aa'), 'rollcall.service failed/failed, amazon-ecs-agent.service active/running');
    assert.equal(states.get('bb'), 'rollcall.service active/running');
    assert.equal(states.get('cc'), undefined);
  });
});

describe('outdated agents', () => {
  const OLD = '[Service]\nExecStart=/bin/true\n';
  const NEW = '[Service]\nExecStart=/bin/true --new\n';

  test('an agent that is present when a unit is deployed runs an earlier one, also if later only a comment changes', () => {
    const roll = [
      sampleNode({ sidecar: { session: 'here' } }),
      sampleNode({ sidecar: { session: 'gone' }, presence: { state: 'lost' } }),
    ];
    const lines = outdatedLines(roll, NEW).join('\n');
    assert.deepEqual([...outdatedSessions(lines, NEW)], ['here']);
    assert.deepEqual([...outdatedSessions(lines, `# why\n${NEW}`)], ['here']);
  });

  test('after going back to the earlier unit its agents count again', () => {
    const lines = outdatedLines([sampleNode()], NEW).join('\n');
    assert.deepEqual([...outdatedSessions(lines, OLD)], []);
  });

  test('an empty or damaged file has no outdated agents', () => {
    for (const lines of ['', '\n', 'garbage', '\0']) assert.equal(outdatedSessions(lines, NEW).size, 0);
  });
});

describe('fleet answers', () => {
  const MACHINE: Machine = { id: 'a'.repeat(32), address: '10.113.0.23' };
  const NONE = new Set<string>();

  /** Why the one machine has not answered; null when it has. */
  function missing(nodes: readonly RollNode[], old: ReadonlySet<string> = NONE, machine = MACHINE): string | null {
    const state = fleetAnswers([machine], nodes, old);
    assert.equal(state.answered.length + state.missing.length, 1);
    return state.missing[0]?.reason ?? null;
  }

  test('a present node with the machine’s id has answered, whatever its address', () => {
    assert.equal(missing([sampleNode()]), null);
    assert.equal(missing([sampleNode({ privateIpAddress: '10.0.0.9' })]), null);
    assert.equal(missing([sampleNode()], NONE, { ...MACHINE, address: null }), null);
  });

  test('the same address on another machine is no answer, and is reported while that node is present', () => {
    const other = { machineId: 'b'.repeat(32) };
    assert.match(missing([sampleNode(other)]) ?? '', /i-12345678 answers from its address, but as machine b{32}$/);
    assert.match(missing([sampleNode({ ...other, presence: { state: 'lost' } })]) ?? '', /never answered/);
  });

  test('an agent without a machine id answers by its private or public address', () => {
    assert.equal(missing([sampleNode({ machineId: null })]), null);
    const elsewhere = { machineId: null, privateIpAddress: '10.0.0.9' };
    assert.equal(missing([sampleNode({ ...elsewhere, publicIpAddress: '10.113.0.23' })]), null);
    assert.match(missing([sampleNode(elsewhere)]) ?? '', /never answered/);
    assert.match(
      missing([sampleNode({ machineId: null })], NONE, { ...MACHINE, address: null }) ?? '',
      /never answered/,
    );
  });

  test('an agent of the earlier unit is no answer; its successor is', () => {
    const old = sampleNode({ sidecar: { session: 'old' } });
    assert.match(
      missing([old], new Set(['old'])) ?? '',
      /i-12345678 still answers through an agent from before the unit was deployed/,
    );
    assert.equal(missing([sampleNode()], new Set(['old'])), null);
  });

  test('a machine that does not answer is reported with its last state', () => {
    assert.match(missing([]) ?? '', /^it never answered at this store$/);
    assert.match(missing([sampleNode({ presence: { state: 'lost' } })]) ?? '', /i-12345678 is lost/);
    const departed = sampleNode({
      presence: { state: 'departed' },
      departure: { at: '2026-11-22T10:00:00Z', cause: 'stopped' },
    });
    assert.match(missing([departed]) ?? '', /departed \(stopped\) at 2026-11-22T10:00:00Z/);
  });

  test('nodes that are not machines of the fleet do not count', () => {
    const state = fleetAnswers([MACHINE], [sampleNode(), sampleNode({ machineId: 'c'.repeat(32) })], NONE);
    assert.equal(state.answered.length, 1);
  });
});

describe('nodes that fleet does not list', () => {
  const MACHINE: Machine = { id: 'a'.repeat(32), address: '10.113.0.23' };
  const named = (nodes: readonly RollNode[], machines = [MACHINE], cluster: string | null = null) => {
    const { fleets, others } = unlistedNodes(machines, nodes, cluster);
    return [fleets, others].map((list) => list.map(({ ec2InstanceId }) => ec2InstanceId));
  };
  const here = sampleNode();
  const other = (changes: Partial<RollNode>) =>
    sampleNode({ ec2InstanceId: 'i-9', machineId: 'b'.repeat(32), privateIpAddress: '10.113.0.99', ...changes });

  test('a present node of a cluster of the fleet is one of the fleet’s, of another cluster it is not', () => {
    assert.deepEqual(named([here]), [[], []]);
    assert.deepEqual(named([here, other({})]), [['i-9'], []]);
    assert.deepEqual(named([here, other({ presence: { state: 'lost' } })]), [[], []]);
    assert.deepEqual(named([here, other({ cluster: 'other' })]), [[], ['i-9']]);
    assert.deepEqual(named([here, other({ cluster: 'other' })], [MACHINE], 'other'), [['i-9'], []]);
  });

  test('where a cluster is not known it is possibly another fleet’s', () => {
    for (const nodes of [[here, other({ cluster: null })], [other({ cluster: 'other' })]]) {
      assert.deepEqual(named(nodes), [[], []]);
      assert.deepEqual(
        unlistedNodes([MACHINE], nodes, null).possible.map(({ ec2InstanceId }) => ec2InstanceId),
        ['i-9'],
      );
      const run = (command: string) =>
        runCommand([command, '--machines', 'machines', '--roll', 'roll'], (path) =>
          path === 'machines'
            ? `${MACHINE.id}\t${MACHINE.address}\n`
            : path === 'roll'
              ? JSON.stringify({ containerInstances: nodes })
              : '',
        );
      assert.deepEqual(run('unlisted-names'), ['', '10.113.0.99']);
      assert.match(run('unlisted').join(), /i-9 is present on the roll, .* possibly another fleet's/);
    }
  });

  test('the fleet’s clusters are also known from nodes that have departed', () => {
    const departed = sampleNode({ presence: { state: 'departed' } });
    assert.deepEqual(named([departed, other({ cluster: 'other' })]), [[], ['i-9']]);
  });

  test('an agent without a machine id is on the machine that has its address', () => {
    assert.deepEqual(named([other({ machineId: null, privateIpAddress: '10.113.0.23' })]), [[], []]);
    assert.deepEqual(named([here, other({ machineId: null })]), [['i-9'], []]);
  });
});

describe('not stopped', () => {
  const MACHINE: Machine = { id: 'a'.repeat(32), address: '10.113.0.23' };
  const UNIT = 'amazon-ecs-agent.service';
  const reasons = (state: string | null, listed = true, roll: readonly RollNode[] = []) => {
    const states = new Map(state === null ? [] : [[MACHINE.id, `${UNIT} ${state}`]]);
    return notStopped([MACHINE], new Set(listed ? [MACHINE.id] : []), states, roll).map(({ reason }) => reason);
  };

  test('a unit has stopped where fleet says so, or has nothing of it', () => {
    for (const state of ['inactive/dead', 'failed/failed', null]) assert.deepEqual(reasons(state), []);
  });

  test('where fleet shows nothing of it, it was not seen', () => {
    const files: Record<string, string> = {
      machines: `${MACHINE.id}\t${MACHINE.address}\n${'b'.repeat(32)}\t10.113.0.24\n`,
      states: `${UNIT}\t${MACHINE.id}/${MACHINE.address}\tinactive\tdead\nother.service\t${'b'.repeat(32)}/-\tactive\trunning\n`,
    };
    const args = ['not-seen', '--machines', 'machines', '--states', 'states', '--unit', UNIT];
    assert.deepEqual(
      runCommand(args, (path) => files[path] ?? ''),
      ['10.113.0.24'],
    );
    files['machines'] = `${MACHINE.id}\t${MACHINE.address}\n`;
    assert.deepEqual(
      runCommand(args, (path) => files[path] ?? ''),
      [],
    );
  });

  test('a unit that is ending or starting again has not', () => {
    for (const state of ['active/running', 'deactivating/stop-sigterm', 'activating/auto-restart']) {
      assert.deepEqual(reasons(state), [`${UNIT} ${state}`]);
    }
  });

  test('of a machine that fleet no longer lists it is not known, nor of one that answers the roll', () => {
    assert.match(reasons('inactive/dead', false)[0] ?? '', /fleet no longer lists it/);
    assert.deepEqual(reasons('inactive/dead', true, [sampleNode()]), ['i-12345678 is present on the roll']);
    assert.deepEqual(reasons('inactive/dead', true, [sampleNode({ presence: { state: 'departed' } })]), []);
  });

  test('a state on a machine that is not in the list counts', () => {
    const elsewhere = new Map([['b'.repeat(32), `${UNIT} active/running`]]);
    const [found] = notStopped([MACHINE], new Set([MACHINE.id]), elsewhere, []);
    assert.equal(found?.machine.id, 'b'.repeat(32));
  });
});

describe('warnings', () => {
  const of = (
    changes: Partial<RollNode>,
    cluster: string | null = 'demo',
    region: string | null = 'us-east-1',
    listed = new Set(['a'.repeat(32)]),
  ) =>
    warnings(fleetAnswers([{ id: 'a'.repeat(32), address: '10.113.0.23' }], [sampleNode(changes)], new Set()), {
      cluster,
      region,
      listed,
    });

  test('a correct machine gives no warning', () => {
    assert.deepEqual(of({}), []);
    assert.deepEqual(of({}, null, null), []);
    assert.deepEqual(of({ privateIpAddress: '10.0.0.9', publicIpAddress: '10.113.0.23' }), []);
  });

  test('each warning names the machine', () => {
    assert.match(
      of({ cluster: 'Cosmos-Dev' })[0] ?? '',
      /^10\.113\.0\.23 \(machine a{32}\) is in cluster Cosmos-Dev, not demo/,
    );
    assert.match(of({}, 'demo', 'us-west-2')[0] ?? '', /is in cluster demo of us-east-1, not us-west-2: .*AWS_REGION/);
    assert.match(of({ containerInstanceArn: null })[0] ?? '', /no container instance yet/);
    assert.match(of({ privateIpAddress: '10.0.0.9' })[0] ?? '', /answers as 10\.0\.0\.9/);
    assert.match(of({ health: { status: 'critical' } })[0] ?? '', /is critical$/);
    assert.match(of({}, 'demo', 'us-east-1', new Set())[0] ?? '', /has answered, but fleet no longer lists it/);
  });
});

describe('run command', () => {
  const files: Record<string, string> = {
    machines: `${'a'.repeat(32)}\t10.113.0.23\n${'b'.repeat(32)}\t10.113.0.24\n`,
    roll: JSON.stringify({ containerInstances: [sampleNode()] }),
    states: `rollcall.service\t${'b'.repeat(32)}/10.113.0.24\tfailed\tfailed\n`,
  };
  const read = (path: string) => files[path] ?? readFileSync(path, 'utf8');
  const run = (...args: string[]) => runCommand([...args, '--machines', 'machines', '--roll', 'roll'], read);

  test('counts the machines that answered, and names the missing ones with the states of their units', () => {
    assert.deepEqual(run('count'), ['1 2 10.113.0.24']);
    assert.deepEqual(run('present'), [`10.113.0.23 (machine ${'a'.repeat(32)})`]);
    assert.deepEqual(run('missing', '--states', 'states', '--unit', 'rollcall.service'), [
      `10.113.0.24 (machine ${'b'.repeat(32)}): it never answered at this store; rollcall.service failed/failed`,
    ]);
  });

  test('an unknown command is an error', () => {
    assert.throws(() => run('nonsense'), /unknown command: nonsense/);
  });
});
