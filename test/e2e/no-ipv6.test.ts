import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { until } from '../support/machine-time.ts';
import { startOwned } from '../support/owned-process.ts';
import { CLEAN_ENV, PATIENCE_MS } from '../support/rollcall-process.ts';

const BUNDLE = fileURLToPath(new URL('../../dist/rollcall.cjs', import.meta.url));

/**
 * Makes socket(AF_INET6) fail with EAFNOSUPPORT, as a kernel that was started with ipv6.disable=1 does, and runs a command.
 * A seccomp filter, seccomp(2): it loads the number of the system call, compares it with that of socket, then loads the
 * first argument and compares it with AF_INET6.
 */
const WITHOUT_IPV6 = `
my ($arch, $socket) = \`uname -m\` =~ /aarch64/ ? (0xC00000B7, 198) : (0xC000003E, 41);
my $filter = join '', map { pack 'SCCL', @$_ }
  [0x20, 0, 0, 0], [0x15, 0, 3, $socket], [0x20, 0, 0, 16], [0x15, 0, 1, 10], [0x06, 0, 0, 0x00050000 | 97], [0x06, 0, 0, 0x7fff0000];
my $program = pack 'S x6 P', 6, $filter;
my $prctl = $arch == 0xC00000B7 ? 167 : 157;
syscall($prctl, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
syscall($prctl, 22, 2, unpack('J', pack 'P', $program), 0, 0) == 0 or die "seccomp: $!";
exec @ARGV or die "$ARGV[0]: $!";
`;

for (const [what, prepare] of [
  [
    'is switched off by sysctl',
    'sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1; exec "$@"',
  ],
  ['is not in the kernel', `exec perl -e "$WITHOUT_IPV6" "$@"`],
] as const) {
  test(`where IPv6 ${what}, an agent on all addresses answers, and its health is read`, async (t) => {
    const dir = await mkdtemp(join(tmpdir(), 'rollcall-ipv4-'));
    t.after(() => rm(dir, { recursive: true, force: true }));
    const rights = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
    const isolated = ['unshare', ...rights, '--net', 'bash', '-euc', `ip link set lo up; ${prepare}`, 'bash'] as const;
    // The health check runs beside the agent, in the same network and under the same restrictions.
    const both = `
      node=$1 bundle=$2 dir=$3
      export ROLLCALL_LISTEN=:51690
      $node $bundle agent --store sqlite:$dir/roll.db --metadata-endpoint http://127.0.0.1:1 & agent=$!
      for try in {1..50}; do $node $bundle health && break; kill -0 $agent; sleep 0.1; done
      kill $agent; wait $agent; echo ended $?`;
    const env = { ...CLEAN_ENV, WITHOUT_IPV6 };
    const { child, closed } = startOwned(
      t,
      [...isolated, 'bash', '-uec', both, 'bash', process.execPath, BUNDLE, dir],
      env,
    );
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    let ended = false;
    void closed.finally(() => (ended = true));
    await until('both have ended', PATIENCE_MS, () => ended);
    assert.match(output, /^healthy: http:\/\/127\.0\.0\.1:51690\/healthz$/m, output);
    assert.match(output, /^ended 0$/m, output);
  });
}
