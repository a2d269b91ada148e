import type { TestContext } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { openStore } from '../../src/store/open-store.ts';
import { type SampleWriter, sampleWriter } from '../support/sample-writer.ts';

/** @param endpoints of etcd, with nothing in between */
export async function openSampleWriter(t: TestContext, endpoints: readonly string[]): Promise<SampleWriter> {
  const store = await openStore(
    { kind: 'etcd', label: 'etcd://test', endpoints, prefix: '/rollcall', tls: null, credentials: null },
    { clock: systemClock, random: Math.random, signal: new AbortController().signal, create: true },
  );
  t.after(() => store.close());
  return sampleWriter(store);
}
