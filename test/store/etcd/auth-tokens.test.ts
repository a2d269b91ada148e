import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Endpoint } from '../../../src/store/etcd/client.ts';
import { authTokens } from '../../../src/store/etcd/client.ts';

const endpoint = { url: 'http://a' } as Endpoint;

describe('the token of a store', () => {
  it('is fetched once for all who wait, and again only after it was refused', async () => {
    let fetched = 0;
    const tokens = authTokens(async () => `token ${++fetched}`);
    assert.deepEqual(await Promise.all([tokens.get(endpoint), tokens.get(endpoint)]), ['token 1', 'token 1']);
    assert.equal(await tokens.get(endpoint), 'token 1');
    tokens.drop('token 1');
    assert.equal(await tokens.get(endpoint), 'token 2');
  });

  it('is not thrown away by a caller that was refused with an older one', async () => {
    let fetched = 0;
    const tokens = authTokens(async () => `token ${++fetched}`);
    await tokens.get(endpoint);
    tokens.drop('token 1');
    await tokens.get(endpoint);
    tokens.drop('token 1');
    assert.equal(await tokens.get(endpoint), 'token 2');
  });

  it('is fetched anew after a failure, which all who waited see', async () => {
    let fetched = 0;
    const tokens = authTokens(async () => {
      fetched += 1;
      if (fetched === 1) throw new Error('no');
      return 'token';
    });
    const both = await Promise.allSettled([tokens.get(endpoint), tokens.get(endpoint)]);
    assert.deepEqual(
      both.map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    assert.equal(await tokens.get(endpoint), 'token');
    assert.equal(fetched, 2);
  });

  it('does not wait at one endpoint for another that hangs', async () => {
    const other = { url: 'http://b' } as Endpoint;
    const tokens = authTokens((at) => (at === endpoint ? new Promise(() => {}) : Promise.resolve('token')));
    void tokens.get(endpoint);
    assert.equal(await tokens.get(other), 'token');
  });
});
