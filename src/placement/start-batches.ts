/** What StartTask takes at once: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_StartTask.html */
const MAX_STARTED = 10;

/**
 * The calls that start one task for each of these: at most 10 instances a call, none twice in one, since a call starts
 * one task on each. In their order as far as that goes.
 */
export function startBatches(arns: readonly string[]): readonly (readonly string[])[] {
  const batches: Set<string>[] = [];
  for (const arn of arns) {
    const open = batches.find((batch) => batch.size < MAX_STARTED && !batch.has(arn));
    if (open) open.add(arn);
    else batches.push(new Set([arn]));
  }
  return batches.map((batch) => [...batch]);
}
