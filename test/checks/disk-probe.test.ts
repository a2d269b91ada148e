import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type DiskUse, diskProbe, judgeDisk } from '../../src/checks/disk-probe.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { simulatedClock } from '../support/simulated-clock.ts';

const disk = { path: '/var/lib/docker', warningPercent: 15, criticalPercent: 5 };
const never = new AbortController().signal;
const use = (bavail: number, ffree: number): DiskUse => ({ blocks: 105, bfree: bavail + 5, bavail, files: 100, ffree });

test('space and inodes are counted as in df; the reason names the limit, not the free space', () => {
  assert.deepEqual(judgeDisk(use(15, 15), disk), { status: 'passing', reason: '' });
  assert.deepEqual(judgeDisk(use(14, 50), disk), {
    status: 'warning',
    reason: 'less than 15% free on /var/lib/docker',
  });
  assert.deepEqual(judgeDisk(use(4, 14), disk), {
    status: 'critical',
    reason: 'less than 5% free on /var/lib/docker',
  });
  assert.deepEqual(judgeDisk(use(14, 4), disk), {
    status: 'critical',
    reason: 'less than 5% of the inodes free on /var/lib/docker',
  });
  assert.equal(judgeDisk(use(50, 14), disk).reason, 'less than 15% of the inodes free on /var/lib/docker');
});

test('a file system that reports 0 inodes or 0 blocks in total is passing', () => {
  assert.equal(judgeDisk({ ...use(50, 0), files: 0 }, disk).status, 'passing');
  assert.equal(judgeDisk({ blocks: 0, bfree: 0, bavail: 0, files: 0, ffree: 0 }, disk).status, 'passing');
});

test('a real file system is checked, and a missing path is critical', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-disk-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const path = join(dir, 'none');
  const limits = { intervalMs: 10_000, timeoutMs: 5_000, clock: systemClock };
  const all = { path: '/', warningPercent: 100, criticalPercent: 0 };
  // Every file system has less than 100% and at least 0% free.
  assert.equal((await diskProbe({ ...limits, disk: all }).run(never)).status, 'warning');
  assert.deepEqual(await diskProbe({ ...limits, disk: { ...disk, path } }).run(never), {
    status: 'critical',
    reason: `cannot read ${path}: no such path; in a container, mount it`,
  });
});

test('a file system that hangs is critical at the timeout, and is read once until it answers', async () => {
  const clock = simulatedClock();
  const answers: ((answer: DiskUse) => void)[] = [];
  const read = () => new Promise<DiskUse>((resolve) => answers.push(resolve));
  const probe = diskProbe({ disk, intervalMs: 10_000, timeoutMs: 5_000, clock, read });
  for (let run = 0; run < 3; run += 1) {
    const running = probe.run(never);
    await clock.advance(5_000);
    assert.deepEqual(await running, { status: 'critical', reason: 'no answer within 5s' });
  }
  assert.equal(answers.length, 1);
  const waiting = probe.run(never);
  answers[0]?.(use(50, 50));
  assert.equal((await waiting).status, 'passing');
  const fresh = probe.run(never);
  answers[1]?.(use(1, 50));
  assert.equal((await fresh).status, 'critical');
  assert.equal(clock.sleepers(), 0);
});
