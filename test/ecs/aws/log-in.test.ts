import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Sdk } from '../../../src/ecs/aws/call.ts';
import { readCredentials } from '../../../src/ecs/aws/credentials.ts';
import { systemClock } from '../../../src/lib/clock.ts';

const KEYS = { accessKeyId: 'AKID', secretAccessKey: 'secret' };
const CONFIG = `[profile corp]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = ops
[sso-session corp]
sso_region = us-east-1
sso_start_url = https://corp.example
[profile own]
login_session = arn:aws:iam::123456789012:user/me
`;

test('single sign-on and aws login ask AWS itself where configured endpoints are to be ignored, however that is written', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-log-in-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, 'config'), CONFIG);
  const files = { AWS_CONFIG_FILE: join(dir, 'config'), AWS_SHARED_CREDENTIALS_FILE: '/dev/null' };
  const asked = async (profile: string, env: Readonly<Record<string, string>>) => {
    let ignores: unknown;
    const provider = (init: Parameters<Sdk['fromSSO']>[0] = {}) => {
      ignores = Object(init.clientConfig).ignoreConfiguredEndpointUrls;
      return async () => KEYS;
    };
    const sdk = { fromSSO: provider, fromLoginCredentials: provider } as unknown as Sdk;
    const none = { requestHandler: {}, stsEndpoint: null, region: () => null };
    const keys = await readCredentials({ sdk, clock: systemClock, env: { ...files, ...env }, ...none }, profile);
    assert.deepEqual(keys, KEYS);
    return ignores;
  };
  for (const profile of ['corp', 'own']) {
    assert.equal(await asked(profile, { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: 'True' }), true, profile);
    assert.equal(await asked(profile, { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: 'false' }), undefined, profile);
    assert.equal(await asked(profile, {}), undefined, profile);
  }
});
