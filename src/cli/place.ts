import { Command } from 'commander';
import { type EcsFlags, ecsOptions, ecsSettings } from '../config/ecs-flags.ts';
import { logLevelOption } from '../config/flags.ts';
import { storeOptions, timeoutOption } from '../config/store-flags.ts';
import { clusterName } from '../ecs/arn.ts';
import type { EcsApi, TaskNeeds } from '../ecs/ecs-api.ts';
import { withDeadline } from '../lib/deadline.ts';
import { RollcallError } from '../lib/errors.ts';
import type { Candidate } from '../placement/judge-nodes.ts';
import { type PlacementReport, refusalText, renderPlacement, taskLine, whyLine } from '../placement/render.ts';
import { describeSkipped } from '../record/flaws.ts';
import { type CliContext, type ReadFlags, readFromStore, warn } from './context.ts';
import { type PlaceFlags, placeOptions, requireClusterFlag, taskNeeds } from './place-flags.ts';

interface Flags extends ReadFlags, EcsFlags, PlaceFlags {}

/** Deadline for reading a cluster from ECS: 10,000 nodes are 200 requests, and AWS accepts about 20 per second. */
const ECS_DEADLINE_MS = 120_000;

const EXAMPLES = `
A node gets tasks if it is present and passing on the roll, ACTIVE and connected
in ECS, has the same container instance ARN on both sides, is not about to end,
and has the room; with --start also if it has the attributes and GPUs that the
definition requires. For each task the ARN of the container instance is printed;
with --start the ARN of the task, too. Either all tasks are placed or none.

Names in --constraint: az, instance-type, attribute:NAME for an ECS attribute,
or a rollcall label. If a node does not have the name, != is met and == is not.

Examples:
  rollcall place --cluster demo --cpu 256 --memory 512
  rollcall place --cluster demo --cpu 256 --memory 512 \\
    --ports 8080,9090/udp --count 3 --strategy spread --why
  rollcall place --cluster demo --cpu 256 --memory 512 \\
    --constraint 'role==node' --constraint 'az!=us-east-1a'
  rollcall place --cluster demo --start web:7 --count 3
  arns=$(rollcall place --cluster demo --cpu 256 --memory 512)
  aws ecs start-task --cluster demo --task-definition web \\
    --container-instances $arns`;

export function placeCommand(context: CliContext): Command {
  const command = new Command('place').description(
    'Choose container instances for tasks by the free resources of healthy nodes.',
  );
  for (const option of [...placeOptions(), ...storeOptions(), timeoutOption(), ...ecsOptions(), logLevelOption()]) {
    command.addOption(option);
  }
  return command.addHelpText('after', EXAMPLES).action(async (flags: Flags) => {
    requireClusterFlag(flags);
    if (flags.start === undefined) taskNeeds(flags, null);
    const { openEcsApi } = await import('../ecs/open-ecs-api.ts');
    const api = await openEcsApi(ecsSettings(flags), context);
    try {
      await place(context, flags, api);
    } finally {
      api.close();
    }
  });
}

async function place(context: CliContext, flags: Flags, api: EcsApi): Promise<void> {
  const asked = requireClusterFlag(flags);
  const cluster = clusterName(asked) ?? asked;
  // The store first, so that a command that cannot read it makes no AWS call.
  const roll = await readFromStore(context, flags, 'place', (store, signal) => store.read(signal, { hurry: true }));
  warn(context, flags, describeSkipped(roll.skipped));
  const { clock, random } = context;
  const { defined, needs, instances } = await withDeadline(
    clock,
    ECS_DEADLINE_MS,
    context.signal,
    `read cluster ${cluster} from ECS`,
    async (signal) => {
      const defined = flags.start === undefined ? null : await api.describeTaskDefinition(flags.start, signal);
      if (defined?.needsSubnets) {
        throw new RollcallError(
          `start ${flags.start}: its network mode is awsvpc, and --start cannot set subnets; place with --cpu and --memory, then run aws ecs start-task --network-configuration with the ARNs`,
        );
      }
      const { enumerateInstances } = await import('../ecs/list-instances.ts');
      return {
        defined,
        needs: taskNeeds(flags, defined?.needs ?? null),
        instances: (await enumerateInstances(api, [asked], signal)).instances,
      };
    },
  );
  const { judgeNodes } = await import('../placement/judge-nodes.ts');
  const { placeTasks } = await import('../placement/place-tasks.ts');
  const judged = judgeNodes(cluster, roll, instances, flags.constraint, defined?.requirements ?? null);
  const placed = placeTasks(judged.candidates, needs, flags, random);
  const passedOver = [...judged.passedOver, ...placed.passedOver];
  const refused = placed.placements.length < flags.count;
  if (flags.why && (refused || flags.output !== 'json')) {
    for (const each of passedOver) context.stderr(whyLine(each));
  }
  if (refused)
    throw new RollcallError(refusalText({ cluster, needs, count: flags.count, room: placed.room, passedOver }));
  const report = { cluster, needs, placements: placed.placements, passedOver: flags.why ? passedOver : null };
  if (flags.start === undefined) await context.stdout(renderPlacement(flags.output, { ...report, started: null }));
  else await startPlaced(context, flags, api, asked, flags.start, report);
}

async function startPlaced(
  context: CliContext,
  flags: Flags,
  api: EcsApi,
  cluster: string,
  taskDefinition: string,
  report: Omit<PlacementReport, 'started'> & { readonly needs: TaskNeeds; readonly placements: readonly Candidate[] },
): Promise<void> {
  const { startTasks } = await import('../placement/start-tasks.ts');
  const asText = flags.output === 'text' || flags.output === 'wide';
  const started: {
    tasks: { taskArn: string; containerInstanceArn: string }[];
    failures: { arn: string; reason: string }[];
  } = { tasks: [], failures: [] };
  const arns = report.placements.map(({ containerInstanceArn }) => containerInstanceArn);
  try {
    await startTasks(
      api,
      cluster,
      taskDefinition,
      arns,
      async ({ tasks, failures }) => {
        started.tasks.push(...tasks);
        started.failures.push(...failures);
        // At once, because these tasks run even if a later call fails.
        if (asText) await context.stdout(tasks.map(taskLine).join(''));
      },
      context.signal,
    );
  } finally {
    if (!asText) await context.stdout(renderPlacement(flags.output, { ...report, started }));
  }
  if (started.tasks.length === arns.length) return;
  const reasons = started.failures.map(({ arn, reason }) => `${arn.split('/').at(-1)} ${reason}`);
  const why = reasons.length > 0 ? reasons.join(', ') : 'ECS gave no reason';
  throw new RollcallError(
    `start ${taskDefinition}: ${started.tasks.length} of ${arns.length} tasks started; refused: ${why}`,
  );
}
