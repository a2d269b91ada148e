import { Command, Option } from 'commander';
import { listenAddress } from '../config/flags.ts';
import type { Clock } from '../lib/clock.ts';
import { withDeadline } from '../lib/deadline.ts';
import { describeError, printable, RollcallError, UsageError } from '../lib/errors.ts';
import type { CliContext } from './context.ts';

interface HealthFlags {
  readonly listen: { readonly host: string; readonly port: number };
}

const EXAMPLES = `
For an image's HEALTHCHECK and for scripts on the node. It ends with 0 while the agent's own loops make progress, else 1;
a store outage is no reason. Whether the node is on the roll is what /readyz tells.

Examples:
  rollcall health
  rollcall health --listen 127.0.0.1:21691`;

export function healthCommand(context: CliContext): Command {
  return new Command('health')
    .description('Ask the agent on this machine whether it is well.')
    .addOption(
      new Option('--listen <host:port>', 'where the agent answers HTTP, as the agent was told')
        .env('ROLLCALL_LISTEN')
        .default({ host: '127.0.0.1', port: 51_690 }, '127.0.0.1:51690')
        .argParser(listenAddress),
    )
    .addHelpText('after', EXAMPLES)
    .action(async ({ listen }: HealthFlags) => {
      if (listen.port === 0) {
        throw new UsageError('port 0 of --listen was for the agent to choose one; name the one that its log says');
      }
      const verdict = await readHealth(listen, context.clock, context.signal);
      if (!verdict.healthy) throw new RollcallError(verdict.reason);
      await context.stdout(`${verdict.reason}\n`);
    });
}

export interface HealthVerdict {
  readonly healthy: boolean;
  /** One line for a person. */
  readonly reason: string;
}

const LIMIT_MS = 3_000;
const MAX_BODY_BYTES = 65_536;

/** What `/healthz` of the agent that listens there says; an agent that does not answer is not healthy. */
export async function readHealth(
  listen: { readonly host: string; readonly port: number },
  clock: Clock,
  signal: AbortSignal,
): Promise<HealthVerdict> {
  // Loaded here: the other commands do without an HTTP client.
  const { boundedRequest, openHttpPool } = await import('../lib/http-client.ts');
  const origin = `http://${hostToAsk(listen.host)}:${listen.port}`;
  const url = `${origin}/healthz`;
  const pool = openHttpPool(origin, { connections: 1, connectTimeoutMs: LIMIT_MS });
  try {
    const { status, text } = await withDeadline(clock, LIMIT_MS, signal, `cannot ask ${url}`, (inner) =>
      boundedRequest(pool, { method: 'GET', path: '/healthz', maxBytes: MAX_BODY_BYTES, signal: inner }),
    );
    if (status === 200) return { healthy: true, reason: `healthy: ${url}` };
    return { healthy: false, reason: `${url} says HTTP ${status}: ${detail(text)}` };
  } catch (error) {
    signal.throwIfAborted();
    const cause = describeError(error);
    return {
      healthy: false,
      reason: cause.includes(url) ? cause : `cannot ask ${url}: ${cause}; is the agent running?`,
    };
  } finally {
    await pool.destroy();
  }
}

/** Who listens on all addresses is asked on loopback. */
function hostToAsk(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}

function detail(body: string): string {
  try {
    const parsed: unknown = JSON.parse(body);
    if (parsed && typeof parsed === 'object' && 'detail' in parsed)
      return printable(String(parsed.detail)).slice(0, 500);
  } catch {
    // no agent's answer
  }
  return 'the answer is no agent’s';
}
