import type { Page } from './ecs-api.ts';
import { EcsError } from './ecs-error.ts';

/** Of 100 each: more than a region has instances. Only an endpoint that never ends its list has more. */
const MAX_PAGES = 1_000;

/** Every ARN of a list that ECS hands out in pages, once. @throws EcsError for one that never ends */
export async function allPages(
  action: string,
  read: (page: string | null) => Promise<Page>,
): Promise<readonly string[]> {
  const arns = new Set<string>();
  let next: string | null = null;
  for (let pages = 0; pages < MAX_PAGES; pages += 1) {
    const page: Page = await read(next);
    for (const arn of page.arns) arns.add(arn);
    if (page.next === null) return [...arns];
    next = page.next;
  }
  throw new EcsError(`${action}: more than ${MAX_PAGES} pages`, { code: 'NoEnd', retryable: false });
}
