import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Answer, Job } from './worker.ts';

/** Memory of one thread, in MB: what a simulation needs is some hundred. */
const MAX_OLD_SPACE_MB = 1_500;
/** What a heartbeat leaves behind lives until the next one: with less it is copied around, again and again. */
const MAX_YOUNG_SPACE_MB = 96;

/**
 * Works off jobs on all cores, one simulation to a core.
 * @param next the next job; null: there is none any more @param onAnswer false: no more jobs are begun
 */
export async function runJobs(
  next: () => Job | null,
  onAnswer: (job: Job, answer: Answer) => boolean,
  threads = availableParallelism(),
): Promise<void> {
  let over = false;
  const work = async () => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      execArgv: ['--disable-warning=ExperimentalWarning'],
      resourceLimits: { maxOldGenerationSizeMb: MAX_OLD_SPACE_MB, maxYoungGenerationSizeMb: MAX_YOUNG_SPACE_MB },
    });
    const failed = new Promise<never>((_, reject) => worker.once('error', reject));
    failed.catch(() => {}); // seen by the race below
    try {
      for (let job = over ? null : next(); job !== null; job = over ? null : next()) {
        const answered = new Promise<Answer>((resolve) => worker.once('message', resolve));
        worker.postMessage(job);
        const answer = await Promise.race([answered, failed]);
        if (!onAnswer(job, answer)) over = true;
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: threads }, work));
}
