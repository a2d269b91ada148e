import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { changes, count, deployWorld } from '../support/deploy-world.ts';
import { rollStates } from '../support/rollcall-process.ts';

for (const version of ['0.11.8', '1.0.0']) {
  test(`fleet ${version}: deploy, deploy again, replace and undeploy do only what is not done yet`, async (t) => {
    const w = await deployWorld(t, version);

    const rehearsal = await w.deploy('--dry-run');
    assert.equal(rehearsal.code, 0, rehearsal.stderr);
    assert.match(
      rehearsal.stdout,
      /cluster demo in us-east-1 of account 123456789012\n {2}would create the ECS cluster demo in us-east-1/,
    );
    assert.match(rehearsal.stdout, /would submit rollcall\.service/);
    assert.match(rehearsal.stdout, /now 0 have, not 10\.113\.0\.23/);
    assert.deepEqual(changes(await w.fleet.calls()), []);
    assert.deepEqual(w.fleet.state.unitNames(), []);

    const first = await w.deploy();
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stderr, /all 3 machines have answered the roll\n$/);
    assert.equal(first.stdout.trim().split('\n').length, 4, first.stdout);
    assert.deepEqual(await w.fleet.clusters(), ['demo']);
    assert.equal(count(await rollStates(w.store), 'present'), 3);
    await w.fleet.calls();

    const second = await w.deploy();
    assert.equal(second.code, 0, second.stderr);
    assert.match(second.stderr, /nothing to change/);
    assert.equal(second.stdout, first.stdout);
    assert.deepEqual(changes(await w.fleet.calls()), []);

    await w.writeUnits('2');
    const third = await w.deploy();
    assert.equal(third.code, 0, third.stderr);
    assert.deepEqual(Object.values(await w.labels()), ['2', '2', '2'], 'it waited for the new agents');
    const replacing = changes(await w.fleet.calls());
    assert.ok(
      replacing.every((call) => call.includes('rollcall.service')),
      replacing.join('\n'),
    );
    assert.equal(
      replacing.some((call) => call.includes('--replace')),
      version === '1.0.0',
      replacing.join('\n'),
    );

    const undeployed = await w.undeploy('--dry-run');
    assert.equal(undeployed.code, 0, undeployed.stderr);
    assert.match(undeployed.stdout, /would stop rollcall\.service/);
    assert.deepEqual(changes(await w.fleet.calls()), []);

    const gone = await w.undeploy();
    assert.equal(gone.code, 0, gone.stderr);
    assert.deepEqual(w.fleet.state.unitNames(), []);
    assert.equal(count(await rollStates(w.store), 'departed'), 3);
    await w.fleet.calls();
    const goneAgain = await w.undeploy();
    assert.equal(goneAgain.code, 0, goneAgain.stderr);
    assert.match(goneAgain.stderr, /nothing to change/);
    assert.deepEqual(changes(await w.fleet.calls()), []);
  });
}

test('the variable ROLLCALL sets another command that reads the roll', async (t) => {
  const w = await deployWorld(t, '1.0.0', 1);
  assert.equal((await w.deploy()).code, 0);
  const [first] = w.fleet.machines;
  const script = join(w.units, 'elsewhere');
  await writeFile(script, `#!/bin/sh\necho "$@" >>${script}.log\nexec scripts/rollcall "$@" --store ${w.store}\n`, {
    mode: 0o755,
  });
  const env = { ROLLCALL: `env A=b ${script}`, ROLLCALL_CLUSTER: 'demo', ROLLCALL_HEALTH: 'critical' };
  const result = await w.fleet.script('deploy', ['--units', w.units, '--yes'], env);
  assert.equal(result.code, 0, result.stderr);
  assert.match(result.stdout, new RegExp(`^${first?.ip} `, 'm'));
  assert.match(await readFile(`${script}.log`, 'utf8'), /^list --all -o json$/m);
});

test('the help’s example for ROLLCALL reads the roll through a host on which no agent runs', async (t) => {
  const w = await deployWorld(t, '1.0.0', 1);
  const { stdout: help } = await w.fleet.script('deploy', ['--help']);
  const example = /ROLLCALL='([^']+)'/.exec(help)?.[1] ?? assert.fail(help);
  // As a systemd unit's file may have it; the cluster would be a filter.
  const file = join(w.units, 'rollcall.env');
  await writeFile(file, `# settings\nROLLCALL_STORE=${w.store}\nROLLCALL_CLUSTER=elsewhere\nROLLCALL_LABEL=a=b\n`);
  const standIns = {
    // ssh hands one text to a shell.
    ssh: '[ "$1" = core@10.0.0.11 ] || exit 255; shift; exec sh -c "$*"',
    sudo: 'exec "$@"',
    docker: `[ "$1 $2 $3" = 'run --rm --net=host' ] || { echo 'Error: No such container: rollcall' >&2; exit 1; }
      set -- "\${@:4}" && names=()
      while [[ $1 = --* ]]; do
        case $1 in
          --env-file=*) while IFS= read -r line; do [[ $line = '#'* ]] || names+=("$line"); done <"\${1#*=}" ;;
          --security-opt=*) ;;
          --env=*) names+=("\${1#*=}") ;;
          *) exit 125 ;;
        esac
        shift
      done
      [ "$1" = REGISTRY/rollcall:TAG ] && shift && exec env -i PATH="$PATH" HOME="$HOME" "\${names[@]}" ${process.cwd()}/scripts/rollcall "$@"`,
  };
  for (const [name, text] of Object.entries(standIns)) {
    await writeFile(join(w.fleet.bin, name), `#!/bin/bash\n${text}\n`, { mode: 0o755 });
  }
  const env = { ROLLCALL: example.replace('/etc/rollcall/rollcall.env', file) };
  const deployed = await w.fleet.script('deploy', ['--units', w.units, '--cluster', 'demo', '--yes'], env);
  assert.equal(deployed.code, 0, deployed.stderr);
  assert.match(deployed.stderr, /all 1 machines have answered the roll/);
  const undeployed = await w.fleet.script('undeploy', ['--yes'], env);
  assert.equal(undeployed.code, 0, undeployed.stderr);
});
