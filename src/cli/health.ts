import { readFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { listenAddress } from '../config/flags.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { describeError, isNoHttp, RollcallError, UsageError } from '../lib/errors.ts';
import { printable } from '../lib/foreign-text.ts';
import type { CliContext } from './context.ts';

interface HealthFlags {
  readonly listen: { readonly host: string; readonly port: number };
  readonly listenCertFile?: string;
}

const EXAMPLES = `
For an image's HEALTHCHECK and for scripts on the node. Exit status: 0 while the
agent's loops make progress, else 1. A store outage does not make the agent
unhealthy; /readyz says whether the node is on the roll. There is no --agent:
ask the agent of another host with curl http://HOST:51690/healthz.

Examples:
  rollcall health
  rollcall health --listen 127.0.0.1:21691`;

export function healthCommand(context: CliContext): Command {
  return new Command('health')
    .description('Check the health of the agent on this machine.')
    .addOption(
      new Option('--listen <host:port>', 'HTTP address of the agent, the same as the agent’s --listen')
        .env('ROLLCALL_LISTEN')
        .default({ host: '127.0.0.1', port: 51_690 }, '127.0.0.1:51690')
        .argParser(listenAddress),
    )
    .addOption(
      new Option('--listen-cert-file <path>', 'the agent’s certificate, where its port speaks HTTPS').env(
        'ROLLCALL_LISTEN_CERT_FILE',
      ),
    )
    .addHelpText('after', EXAMPLES)
    .action(async ({ listen, listenCertFile }: HealthFlags) => {
      if (listen.port === 0) {
        throw new UsageError(
          '--listen port 0 is a free port that the agent chose; set the port that is in the agent’s log',
        );
      }
      const verdict = await readHealth(listen, context.clock, context.signal, listenCertFile ?? null);
      if (!verdict.healthy) throw new RollcallError(verdict.reason);
      await context.stdout(`${verdict.reason}\n`);
    });
}

interface HealthVerdict {
  readonly healthy: boolean;
  /** One line for the user. */
  readonly reason: string;
}

const LIMIT_MS = 3_000;
const MAX_BODY_BYTES = 65_536;

/**
 * Reads `/healthz` of the agent at `listen`. An agent that does not answer is not healthy.
 * @param certFile the agent's own certificate: the port speaks HTTPS, and no other certificate is accepted
 */
export async function readHealth(
  listen: { readonly host: string; readonly port: number },
  clock: Clock,
  signal: AbortSignal,
  certFile: string | null = null,
): Promise<HealthVerdict> {
  let verdict: HealthVerdict & { readonly answered: boolean };
  const hosts = hostsToConnectTo(listen.host);
  const scheme = certFile === null ? 'http' : 'https';
  do {
    verdict = await askHealth(`${scheme}://${hosts.shift()}:${listen.port}`, clock, signal, certFile);
  } while (!verdict.answered && hosts.length > 0);
  return { healthy: verdict.healthy, reason: verdict.reason };
}

async function askHealth(
  origin: string,
  clock: Clock,
  signal: AbortSignal,
  certFile: string | null,
): Promise<HealthVerdict & { readonly answered: boolean }> {
  // Loaded here, because the other commands need no HTTP client.
  const { boundedRequest, openHttpPool } = await import('../lib/http-client.ts');
  const url = `${origin}/healthz`;
  const trust = certFile === null ? {} : await pinned(certFile);
  const pool = openHttpPool(origin, { connections: 1, connectTimeoutMs: LIMIT_MS, tls: async () => trust });
  try {
    const { status, text } = await withDeadline(clock, LIMIT_MS, signal, `cannot read ${url}`, (inner) =>
      boundedRequest(pool, { method: 'GET', path: '/healthz', maxBytes: MAX_BODY_BYTES, signal: inner }),
    );
    if (status === 200) return { answered: true, healthy: true, reason: `healthy: ${url}` };
    return { answered: true, healthy: false, reason: `${url} answers HTTP ${status}: ${detail(text)}` };
  } catch (error) {
    signal.throwIfAborted();
    const cause = describeError(error);
    const reason = cause.includes(url) ? cause : `cannot read ${url}: ${whyUnread(error, cause, certFile)}`;
    return { answered: false, healthy: false, reason };
  } finally {
    await pool.destroy();
  }
}

/** Of a connection that failed: the cause and the next step. */
function whyUnread(error: unknown, cause: string, certFile: string | null): string {
  const code = String((error as { code?: unknown } | null)?.code);
  if (isNoHttp(error)) return NOT_AN_AGENT;
  if (certFile === null) {
    // How a port that speaks TLS ends a request of plain HTTP.
    return `${cause}; ${cause === 'socket hang up' ? 'if the agent speaks HTTPS, set --listen-cert-file' : RUNNING}`;
  }
  if (NO_TLS.includes(code)) return 'the port does not speak TLS; leave --listen-cert-file out';
  if (UNTRUSTED.includes(code))
    return `the agent has another certificate than ${certFile}; set --listen-cert-file to its own`;
  return `${cause}; ${RUNNING}`;
}

const NOT_AN_AGENT = 'the answer is not from a rollcall agent; check --listen';
const RUNNING = 'is the agent running?';
const NO_TLS = ['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER'];
const UNTRUSTED = [
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
];

/** The certificate that the agent has is trusted, whatever its name and its authority: both are on this machine. */
async function pinned(certFile: string) {
  try {
    const ca = await readFile(certFile);
    return { ca, allowPartialTrustChain: true, checkServerIdentity: () => undefined };
  } catch (error) {
    throw new UsageError(`--listen-cert-file ${certFile}: ${describeError(error)}`);
  }
}

/** An agent that listens on all addresses is reached on loopback, on the one that this host has. */
function hostsToConnectTo(host: string): [string, ...string[]] {
  if (host === '0.0.0.0') return ['127.0.0.1'];
  if (host === '::') return ['127.0.0.1', '[::1]'];
  return [host.includes(':') ? `[${host}]` : host];
}

function detail(body: string): string {
  try {
    const parsed: unknown = JSON.parse(body);
    if (parsed && typeof parsed === 'object' && 'detail' in parsed)
      return printable(String(parsed.detail)).slice(0, 500);
  } catch {
    // not from an agent
  }
  return NOT_AN_AGENT;
}
