import { UsageError } from '../errors.ts';
import { refuseCluster } from '../record/refuse-cluster.ts';

/** `--cluster` of a command that reads the roll, as a filter; null: it was not given. @throws UsageError for an ARN */
export function rollCluster(name: string | undefined): ReadonlySet<string> | null {
  if (name === undefined) return null;
  const refusal = refuseCluster([name]);
  if (refusal !== null) throw new UsageError(`--${refusal}`);
  return new Set([name]);
}
