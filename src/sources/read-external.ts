import type { MetadataFacts } from '../record/facts.ts';
import { attempt } from './attempt.ts';
import { choosePrivateAddress, type Interfaces } from './choose-private-address.ts';
import type { ExternalIdentity } from './external-identity.ts';
import { METADATA_FIELDS } from './metadata-fields.ts';
import { parseDefaultRoute } from './parse-default-route.ts';
import type { SsmRegistration } from './parse-ssm-registration.ts';
import type { MetadataRead } from './read-metadata.ts';

/** What is asked of the host. */
export interface ExternalHost {
  readonly registration: (path: string) => Promise<SsmRegistration>;
  readonly interfaces: () => Interfaces;
  readonly hostname: () => string;
  /** Text of /proc/net/route; rejects where there is none. */
  readonly routes: () => Promise<string>;
}

/**
 * One pass over a host that is not of EC2, as `readMetadata` gives it for one that is. What only EC2 could say is null.
 * Rejects for a defect alone.
 */
export async function readExternal(identity: ExternalIdentity, host: ExternalHost): Promise<MetadataRead> {
  const { instanceId, registrationFile } = identity;
  const registration = await attempt(async () =>
    instanceId === null ? host.registration(registrationFile) : { instanceId, region: null },
  );
  if ('error' in registration) return { facts: {}, failures: [registration.error.message] };
  const address =
    identity.privateIpAddress === null
      ? choosePrivateAddress(host.interfaces(), await defaultInterface(host))
      : { address: identity.privateIpAddress };
  const hostname = host.hostname();
  const facts: Partial<MetadataFacts> = {
    ec2InstanceId: registration.value.instanceId,
    ...('address' in address ? { privateIpAddress: address.address } : {}),
    publicIpAddress: null,
    privateDnsName: METADATA_FIELDS.privateDnsName.accepts(hostname) ? hostname : null,
    availabilityZone: null,
    region: registration.value.region,
    instanceType: null,
    imageId: null,
    accountId: null,
    instanceLifecycle: null,
  };
  return { facts, failures: 'unclear' in address ? [`private address: ${address.unclear}`] : [] };
}

async function defaultInterface(host: ExternalHost): Promise<string | null> {
  try {
    return parseDefaultRoute(await host.routes());
  } catch {
    return null; // what it would have decided is decided without it, or said to be unclear
  }
}
