import { UsageError } from '../errors.ts';
import { requireObject } from './require-object.ts';

/** What every simulated server can be made to do wrong. */
const COMMON = ['none', 'refuse', 'hang', 'error500', 'html', 'truncated', 'oversized', 'wrong-type'] as const;

/** `token-hang`: only the token request hangs, as from a bridged container. `unauthorized`: 401 on everything. */
export const IMDS_FAULTS = [...COMMON, 'token-hang', 'unauthorized'] as const;
/** `null-arn`: running, not registered. `cluster-arn`: ecs-agent was configured with the cluster's ARN. */
export const INTROSPECTION_FAULTS = [...COMMON, 'null-arn', 'cluster-arn'] as const;

export type ImdsFault = (typeof IMDS_FAULTS)[number];
export type IntrospectionFault = (typeof INTROSPECTION_FAULTS)[number];

export interface Faults {
  readonly imds: ImdsFault;
  readonly introspection: IntrospectionFault;
}

export const NO_FAULTS: Faults = { imds: 'none', introspection: 'none' };

/** Reads `{"imds":"hang"}`; a server it does not name keeps its fault. @throws UsageError naming what is allowed */
export function parseFaults(value: unknown): Partial<Faults> {
  const { imds, introspection } = requireObject('faults', ['imds', 'introspection'], value);
  return {
    ...(imds === undefined ? {} : { imds: parseFault('imds', IMDS_FAULTS, imds) }),
    ...(introspection === undefined
      ? {}
      : { introspection: parseFault('introspection', INTROSPECTION_FAULTS, introspection) }),
  };
}

function parseFault<T extends string>(server: string, allowed: readonly T[], value: unknown): T {
  const fault = allowed.find((one) => one === value);
  if (fault !== undefined) return fault;
  throw new UsageError(`${server} fault ${JSON.stringify(value)}: unknown; use one of ${allowed.join(', ')}`);
}
