import type { Backend } from './contract-world.ts';
import { describeLeaderLockContract } from './leader-lock-contract.ts';
import { describeLeaseContract } from './lease-contract.ts';
import { describeReadContract } from './read-contract.ts';
import { describeRegistrationContract } from './registration-contract.ts';
import { describeWatchContract } from './watch-contract.ts';

/** The promises of `Store`, for every kind of store alike. */
export function describeStoreContract(kind: string, start: () => Promise<Backend>): void {
  describeLeaderLockContract(kind, start);
  describeRegistrationContract(kind, start);
  describeLeaseContract(kind, start);
  describeReadContract(kind, start);
  describeWatchContract(kind, start);
}
