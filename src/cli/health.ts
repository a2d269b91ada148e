import { Command, Option } from 'commander';
import { listenAddress } from '../config/parse-option.ts';
import { RollcallError, UsageError } from '../errors.ts';
import type { CliContext } from './cli-context.ts';

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
      const { readHealth } = await import('../http/read-health.ts');
      const verdict = await readHealth(listen, context.clock, context.signal);
      if (!verdict.healthy) throw new RollcallError(verdict.reason);
      await context.stdout(`${verdict.reason}\n`);
    });
}
