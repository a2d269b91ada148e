import { METADATA_FIELDS } from './metadata-fields.ts';
import { parseObject } from './parse-object.ts';
import { quote } from './quote.ts';
import { SourceError } from './source-error.ts';

/** What SSM calls a host that is not of EC2: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_InstanceInformation.html */
export const MANAGED_INSTANCE_ID = /^mi-[0-9a-f]{17}$/;

export interface SsmRegistration {
  /** `mi-…` */
  readonly instanceId: string;
  readonly region: string | null;
}

/**
 * What `amazon-ssm-agent -register` wrote: `{"ManagedInstanceID":"mi-0123456789abcdef0","Region":"us-east-1"}`.
 * @param path for messages @throws SourceError
 */
export function parseSsmRegistration(path: string, text: string): SsmRegistration {
  const action = `SSM registration ${path}`;
  const { ManagedInstanceID: id, Region: region = null } = parseObject(action, text);
  if (typeof id === 'string' && /^i-[0-9a-f]{8,32}$/.test(id)) {
    throw new SourceError(`${action}: it is of the EC2 instance ${id}: run with --identity ec2`);
  }
  if (typeof id !== 'string' || !MANAGED_INSTANCE_ID.test(id)) {
    throw new SourceError(`${action}: ManagedInstanceID: expected mi-… and 17 hex digits, got ${shown(id)}`);
  }
  if (region !== null && !(typeof region === 'string' && METADATA_FIELDS.region.accepts(region))) {
    throw new SourceError(`${action}: Region: expected a region, got ${shown(region)}`);
  }
  return { instanceId: id, region };
}

function shown(value: unknown): string {
  return quote(JSON.stringify(value) ?? 'none');
}
