import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect as connectAny } from '../../src/client/connect.ts';
import { connectHttp as connect } from '../../src/client/connect-http.ts';
import { AgentError } from '../../src/client/types.ts';
import { EMPTY_LIST, json, startScriptedAgent } from './scripted-agent.ts';

test('a token is sent with each request, and may change between two', async (t) => {
  const seen: (string | undefined)[] = [];
  const agent = await startScriptedAgent(t, (req, res) => {
    seen.push(req.headers.authorization);
    json(200, EMPTY_LIST)(req, res);
  });
  let turn = 0;
  const turning = async () => {
    turn += 1;
    return `turn ${turn}`;
  };
  for (const token of ['fixed', turning]) {
    const client = connect(agent.url, { token });
    await client.list();
    await client.list();
    await client.close();
  }
  assert.deepEqual(seen, ['Bearer fixed', 'Bearer fixed', 'Bearer turn 1', 'Bearer turn 2']);
});

test('a token that is no header is refused, and not shown', async () => {
  const client = connect('http://127.0.0.1:1', { token: 'secret-1\nsecret-2' });
  await assert.rejects(client.list(), (error: Error) => error.name === 'UsageError' && !/secret/.test(error.message));
});

test('the error names a URL that is missing, as of a variable that is not set; a URL object is one', () => {
  for (const open of [connect, connectAny] as readonly ((url: never) => unknown)[]) {
    for (const url of [undefined, null, 5])
      assert.throws(() => open(url as never), /^UsageError: the URL is .*: expected a text, such as http:/);
    assert.doesNotThrow(() => open(new URL('http://127.0.0.1:1') as never));
  }
});

test('another fetch is asked with the whole URL, and its failure has its cause', async () => {
  const asked: string[] = [];
  const client = connect('https://agent.example:51690', {
    fetch: async (input) => {
      asked.push(String(input));
      throw new TypeError('fetch failed', { cause: new Error('self-signed certificate') });
    },
  });
  await assert.rejects(client.list(), (error: AgentError) => {
    assert.equal(error.message, 'list the roll at https://agent.example:51690: self-signed certificate');
    return error instanceof AgentError && error.retryable;
  });
  assert.deepEqual(asked, ['https://agent.example:51690/v1/containerInstances?']);
});

test('a connection that fails names the next step', async () => {
  for (const [code, step] of [
    ['ENOTFOUND', '; check the name of the host'],
    ['UND_ERR_CONNECT_TIMEOUT', '; check the address, and that no firewall is between'],
    ['SELF_SIGNED_CERT_IN_CHAIN', '; trust its authority with --agent-ca-file, caFile or NODE_EXTRA_CA_CERTS'],
    ['EOTHER', ''],
  ] as const) {
    const client = connect('http://agent.example:51690', {
      fetch: async () => {
        throw new TypeError('fetch failed', { cause: Object.assign(new Error('no way'), { code }) });
      },
    });
    await assert.rejects(client.list(), { message: `list the roll at http://agent.example:51690: no way${step}` });
  }
});

test('a 404 of something else than an agent is no unknown node', async (t) => {
  const other = await startScriptedAgent(t, json(404, { detail: 'no such page' }));
  const client = connect(other.url);
  t.after(() => client.close());
  await assert.rejects(client.get('i-00000001'), /^AgentError: read i-00000001 at http:\S+: HTTP 404: no such page$/);
});

test('a URL of anything but an agent is refused at once', () => {
  for (const url of [
    'etcd://10.0.0.1:2379',
    'http://host/path',
    'http://me:secret@host',
    'ftp://host',
    'nonsense',
    '',
  ]) {
    assert.throws(
      () => connect(url),
      (error: Error) =>
        error.name === 'UsageError' &&
        /^cannot read the agent URL/.test(error.message) &&
        !/secret/.test(error.message),
      url,
    );
  }
});
