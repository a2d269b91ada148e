import type { ExternalIdentity } from '../sources/external-identity.ts';

/** Where an agent learns who its node is. */
export type IdentityConfig = { readonly kind: 'ec2' } | ExternalIdentity;
