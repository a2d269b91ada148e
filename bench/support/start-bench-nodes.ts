import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts';
import type { BenchContext } from '../benchmark.ts';

export interface BenchNode {
  readonly instanceId: string;
  /** What an agent needs to believe that it runs on this node, answering HTTP on a free port. */
  readonly env: Readonly<Record<string, string>>;
}

/** Simulated nodes in this process, and a folder of machine ids for them. */
export async function startBenchNodes(
  { clock, cleanup }: BenchContext,
  count: number,
): Promise<{ readonly simulator: Simulator; readonly nodes: readonly BenchNode[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'rollcall-bench-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const simulator = await startSimulator({ nodes: count, basePort: 0, cluster: 'bench', seed: 'bench', clock });
  cleanup.defer(() => simulator.close());
  const nodes = simulator.nodes.map(async ({ node, imdsEndpoint, introspectionEndpoint }) => {
    const machineIdFile = join(folder, node.instanceId);
    await writeFile(machineIdFile, `${node.machineId}\n`);
    const env = {
      ROLLCALL_METADATA_ENDPOINT: imdsEndpoint,
      ROLLCALL_INTROSPECTION_ENDPOINT: introspectionEndpoint,
      ROLLCALL_MACHINE_ID_FILE: machineIdFile,
      ROLLCALL_LISTEN: '127.0.0.1:0',
    };
    return { instanceId: node.instanceId, env };
  });
  return { simulator, nodes: await Promise.all(nodes) };
}
