import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Environment } from '../../../src/ecs/aws/config-files.ts';
import { readConfigFiles } from '../../../src/ecs/aws/config-files.ts';
import { configuredEndpoint } from '../../../src/ecs/aws/endpoint.ts';
import type { EcsError } from '../../../src/ecs/ecs-errors.ts';
import { openEcsApi } from '../../../src/ecs/open-ecs-api.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { ecsOf, startEcsEndpoint } from '../../support/ecs-endpoint.ts';

async function fileOf(t: TestContext): Promise<(text: string) => Promise<Environment>> {
  const dir = await mkdtemp(join(tmpdir(), 'rollcall-endpoint-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return async (text) => {
    await writeFile(join(dir, 'config'), text);
    return { AWS_CONFIG_FILE: join(dir, 'config'), AWS_SHARED_CREDENTIALS_FILE: '/dev/null' };
  };
}

/** The endpoints of ECS and STS; null: AWS's. @returns the error's text where there is one */
async function endpoints(env: Environment, profile = 'default'): Promise<(string | null)[] | string> {
  const files = await readConfigFiles(env);
  try {
    return (['ecs', 'sts'] as const).map((service) => configuredEndpoint(service, env, files, profile));
  } catch (error) {
    assert.deepEqual([(error as EcsError).name, (error as EcsError).code], ['EcsError', 'BadEndpoint']);
    return (error as EcsError).message;
  }
}

const SERVICES = '[default]\nservices = dev\n[services dev]\necs =\n  endpoint_url = http://h:1\n';
/** With the answers of botocore 1.43. */
const FOUND: readonly [text: string, env: Environment, [ecs: string | null, sts: string | null]][] = [
  ['', {}, [null, null]],
  ['[default]\nendpoint_url = http://g:1\n', {}, ['http://g:1', 'http://g:1']],
  ['[default]\nENDPOINT_URL = http://g:1\n', {}, ['http://g:1', 'http://g:1']],
  ['[default]\nendpoint_url: http://g:1\n', {}, ['http://g:1', 'http://g:1']],
  ['[default]\nendpoint_url =\n', {}, [null, null]],
  [SERVICES, {}, ['http://h:1', null]],
  [SERVICES.replace('services dev', 'services "dev"'), {}, ['http://h:1', null]],
  [SERVICES.replace('endpoint_url', 'ENDPOINT_URL'), {}, [null, null]],
  [SERVICES.replace('ecs =', 'sts ='), {}, [null, 'http://h:1']],
  [SERVICES.replace('ecs =', 'sts =').replace('\n', '\nendpoint_url = http://g:1\n'), {}, ['http://g:1', 'http://h:1']],
  ['[default]\nendpoint_url = http://g:1\n', { AWS_ENDPOINT_URL: 'http://e:1' }, ['http://e:1', 'http://e:1']],
  [SERVICES, { AWS_ENDPOINT_URL: 'http://e:1' }, ['http://e:1', 'http://e:1']],
  [SERVICES, { AWS_ENDPOINT_URL: 'http://e:1', AWS_ENDPOINT_URL_ECS: 'http://s:1' }, ['http://s:1', 'http://e:1']],
  [SERVICES, { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: 'true' }, [null, null]],
  [`${SERVICES}[a]\n`.replace('\n', '\nignore_configured_endpoint_urls = True\n'), {}, [null, null]],
  [
    SERVICES.replace('\n', '\nignore_configured_endpoint_urls = true\n'),
    { AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: 'false' },
    ['http://h:1', null],
  ],
  ['[profile o]\nendpoint_url = http://o:1\n', {}, [null, null]],
];

test('an endpoint is found where botocore finds it', async (t) => {
  const write = await fileOf(t);
  for (const [text, env, found] of FOUND) {
    assert.deepEqual(await endpoints({ ...env, ...(await write(text)) }), found, `${text} ${JSON.stringify(env)}`);
  }
  const env = await write('[profile o]\nendpoint_url = http://o:1\n');
  assert.deepEqual(await endpoints(env, 'o'), ['http://o:1', 'http://o:1']);
});

test('an endpoint without its scheme is refused: the SDK would send a signed request to another server', async (t) => {
  const write = await fileOf(t);
  const values = ['localhost:4566', '127.0.0.1:4566', 'ecs.example', 'ftp://ecs.example'];
  for (const value of values) {
    for (const name of ['AWS_ENDPOINT_URL_ECS', 'AWS_ENDPOINT_URL_STS', 'AWS_ENDPOINT_URL']) {
      const refused = await endpoints({ ...(await write('')), [name]: value });
      assert.equal(
        refused,
        `${name} is not the URL of an endpoint; use https://HOST or http://HOST:PORT, or unset ${name}`,
      );
    }
    const inProfile = await endpoints(await write(`[default]\nendpoint_url = ${value}\n`));
    assert.match(String(inProfile), /^endpoint_url of profile "default" is not the URL .*, or remove that setting$/);
    const ofService = await endpoints(await write(SERVICES.replace('http://h:1', value)));
    assert.match(String(ofService), /^endpoint_url of ecs in \[services dev\] is not the URL of an endpoint; /);
  }
  assert.match(String(await endpoints({ ...(await write('')), AWS_ENDPOINT_URL: ' ' })), /^AWS_ENDPOINT_URL is not/);
});

test('services that do not exist, or cannot be read, are refused: the SDK would ask AWS', async (t) => {
  const write = await fileOf(t);
  for (const name of ['missing', '']) {
    const env = await write(`[default]\nservices = ${name}\n`);
    const expected = `services "${name}" of profile "default" does not exist; add [services ${name}] to ${env['AWS_CONFIG_FILE']}, or remove that setting`;
    assert.equal(await endpoints(env), expected);
  }
  const env = await write(SERVICES.replace('endpoint_url =', 'endpoint_url:').replace('http://h:1', 'h'));
  assert.match(String(await endpoints(env)), /^line 5 of \S+ belongs to "ecs" and is not NAME = VALUE; /);
});

test('ECS is asked at the endpoint of the profile, in whatever way it is written', async (t) => {
  const write = await fileOf(t);
  const ecs = await startEcsEndpoint(t, ecsOf({ demo: 3 }));
  const keys = 'aws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secret\nregion = us-east-1\n';
  for (const setting of [
    'ENDPOINT_URL = ',
    'endpoint_url: ',
    'services = dev\n[services dev]\necs =\n  endpoint_url = ',
  ]) {
    const env = await write(`[profile o]\n${keys}${setting}${ecs.url}\n`);
    const api = await openEcsApi({ region: null, profile: 'o' }, { clock: systemClock, env });
    t.after(() => api.close());
    const { arns } = await api.listContainerInstances('demo', null, new AbortController().signal);
    assert.equal(arns.length, 3, setting);
  }
});
