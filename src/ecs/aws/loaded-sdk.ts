/** What the SDK's own bundle exports, once it was asked for. */
export type Sdk = typeof import('./sdk.ts');
