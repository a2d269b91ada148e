import { Command, Option } from 'commander';
import { logLevelOption } from '../config/log-level.ts';
import { storeOptions } from '../config/store-options.ts';
import { RollcallError, UsageError } from '../errors.ts';
import { instanceJson } from '../record/instance-json.ts';
import { INSTANCE_ID } from '../record/read-record.ts';
import type { RollEntry } from '../record/roll.ts';
import type { CliContext } from './cli-context.ts';
import { type ReadFlags, readFromStore, warnOfSkipped } from './read-from-store.ts';
import { renderInstance } from './render-instance.ts';

interface ShowFlags extends ReadFlags {
  readonly output: 'text' | 'wide' | 'json' | 'ndjson';
}

const EXAMPLES = `
Examples:
  rollcall show i-0abc1234def567890 --store etcd://127.0.0.1:2379
  rollcall show i-0abc1234def567890 -o json | jq .health`;

export function showCommand(context: CliContext): Command {
  const command = new Command('show')
    .description('Print one node: its whole record, with presence and age.')
    .argument('<instance>', 'EC2 instance id')
    .addOption(
      new Option('-o, --output <format>', 'how to print it')
        .env('ROLLCALL_OUTPUT')
        .default('text')
        .choices(['text', 'wide', 'json', 'ndjson']),
    )
    .addHelpText('after', EXAMPLES);
  for (const option of [...storeOptions(), logLevelOption()]) command.addOption(option);
  return command.action(async (instanceId: string, flags: ShowFlags) => {
    if (!INSTANCE_ID.test(instanceId)) {
      throw new UsageError(
        `"${instanceId}" is not an instance id such as i-0abc1234def567890; rollcall list prints them`,
      );
    }
    const { entry, skipped, label } = await readFromStore(context, flags, 'show', async (store, signal) => ({
      ...(await store.readOne(instanceId, signal)),
      label: store.label,
    }));
    warnOfSkipped(context, flags, skipped);
    if (!entry)
      throw new RollcallError(`${instanceId} is not on the roll at ${label}; rollcall list --all prints who is`);
    await context.stdout(render(flags, entry, context.clock.wallMs()));
  });
}

function render(flags: ShowFlags, entry: RollEntry, nowMs: number): string {
  // The same names as in list, so that one ROLLCALL_OUTPUT serves both; a single node is shown whole anyway.
  if (flags.output === 'ndjson') return `${JSON.stringify(instanceJson(entry))}\n`;
  if (flags.output === 'json') return `${JSON.stringify(instanceJson(entry), null, 2)}\n`;
  return renderInstance(entry, nowMs);
}
