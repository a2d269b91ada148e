import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, type TestContext, test } from 'node:test';
import { INTERRUPTION_KINDS } from '../../src/record/record.ts';
import { createImdsClient } from '../../src/sources/imds.ts';
import {
  mostUrgent,
  NO_NOTICES,
  type Notices,
  parseInstant,
  parseLifecycleNotice,
  parseMaintenanceNotice,
  parseRebalanceNotice,
  parseSpotNotice,
  readNotices,
} from '../../src/sources/notices.ts';
import { scaledClock } from '../support/scaled-clock.ts';
import { simulateNode } from './simulate-node.ts';
import { startRawServer } from './start-raw-server.ts';

describe('notices', () => {
  test('of several notices the most urgent kind is chosen', () => {
    let notices: Notices = NO_NOTICES;
    assert.equal(mostUrgent(notices), null);
    const told: unknown[] = [];
    for (const kind of [...INTERRUPTION_KINDS].reverse()) {
      notices = { ...notices, [kind]: { kind, action: null, time: null } };
      told.push(mostUrgent(notices)?.kind);
    }
    assert.deepEqual(told, ['rebalance-recommendation', 'maintenance', 'asg-termination', 'spot-interruption']);
  });
});

describe('parse instant', () => {
  test('both of EC2’s forms become RFC 3339 in UTC', () => {
    assert.equal(parseInstant('2026-11-22T10:26:18Z'), '2026-11-22T10:26:18.000Z');
    assert.equal(parseInstant('2026-11-22T11:26:18+01:00'), '2026-11-22T10:26:18.000Z');
    assert.equal(parseInstant('21 Jan 2027 09:00:43 GMT'), '2027-01-21T09:00:43.000Z');
  });

  test('text that is not an instant, or has no time zone, gives null', () => {
    for (const text of [
      '',
      '1',
      'soon',
      '2026-11-22',
      '2026-11-22T10:26:18',
      '21 Jan 2027 09:00:43',
      '32 Jan 2027 09:00:43 GMT',
    ])
      assert.equal(parseInstant(text), null, text);
  });
});

describe('parse lifecycle notice', () => {
  test('target states in which the instance stops running are notices', () => {
    const actions = Object.fromEntries(
      ['Terminated', 'Terminating', 'Terminating:Wait', 'Warmed:Terminated', 'Warmed:Stopped', 'Warmed:Hibernated'].map(
        (state) => [state, parseLifecycleNotice(state)?.action],
      ),
    );
    assert.deepEqual(actions, {
      Terminated: 'terminate',
      Terminating: 'terminate',
      'Terminating:Wait': 'terminate',
      'Warmed:Terminated': 'terminate',
      'Warmed:Stopped': 'stop',
      'Warmed:Hibernated': 'hibernate',
    });
    assert.deepEqual(parseLifecycleNotice('Terminated\n'), {
      kind: 'asg-termination',
      action: 'terminate',
      time: null,
    });
  });

  test('states in which the instance keeps running, and unknown states, are not notices', () => {
    for (const state of ['InService', 'Standby', 'Detached', 'Warmed:Running', 'Pending:Wait', 'Brandnew'])
      assert.equal(parseLifecycleNotice(state), null, state);
  });

  test('text that is not a state is an error', () => {
    for (const text of ['', '<html></html>', '{"unexpected":42}', 'a b'])
      assert.throws(() => parseLifecycleNotice(text), /expected a lifecycle state, got "/, text);
  });
});

describe('parse maintenance notice', () => {
  const reboot = {
    Code: 'system-reboot',
    NotBefore: '21 Jan 2027 09:00:43 GMT',
    NotAfter: '21 Jan 2027 09:17:23 GMT',
    Description: 'scheduled reboot',
    EventId: 'instance-event-0d59937288b749b32',
    State: 'active',
  };
  const retirement = { ...reboot, Code: 'instance-retirement', NotBefore: '3 Jan 2027 00:00:00 GMT' };
  const parse = (...events: unknown[]) => parseMaintenanceNotice(JSON.stringify(events));

  test('an active event is a notice with its code and its NotBefore time', () => {
    const expected = { kind: 'maintenance', action: 'system-reboot', time: '2027-01-21T09:00:43.000Z' };
    assert.deepEqual(parse(reboot), expected);
  });

  test('an empty list, and completed or cancelled events, give no notice', () => {
    assert.equal(parse(), null);
    for (const State of ['completed', 'canceled', 'cancelled', 'Completed'])
      assert.equal(parse({ ...reboot, State }), null);
    assert.equal(parse({ ...reboot, State: 'completed' }, retirement)?.action, 'instance-retirement');
  });

  test('the earliest event is chosen whatever the order of the list; an unreadable date comes last', () => {
    const undated = { ...reboot, Code: 'instance-stop', NotBefore: 'soon' };
    for (const events of [
      [reboot, retirement, undated],
      [undated, retirement, reboot],
      [retirement, undated, reboot],
    ])
      assert.equal(parse(...events)?.action, 'instance-retirement');
    assert.deepEqual(parse(undated), { kind: 'maintenance', action: 'instance-stop', time: null });
  });

  test('an event without a state is a notice', () => {
    const { State: _, ...stateless } = reboot;
    assert.equal(parse(stateless)?.action, 'system-reboot');
  });

  test('text that is not a list of events is an error', () => {
    for (const text of ['', '<html>', '{}', '[42]', '[null]', '[{"Code":42}]', '[{"Code":"<b>"}]'])
      assert.throws(() => parseMaintenanceNotice(text), /scheduled: .*expected .*, got "/, text);
  });
});

describe('parse rebalance notice', () => {
  test('a rebalance recommendation gives its start time', () => {
    assert.deepEqual(parseRebalanceNotice('{"noticeTime":"2026-11-22T10:26:18Z"}'), {
      kind: 'rebalance-recommendation',
      action: null,
      time: '2026-11-22T10:26:18.000Z',
    });
  });

  test('text that is not a recommendation is an error', () => {
    for (const text of ['', '<html>', '{}', '{"noticeTime":42}'])
      assert.throws(() => parseRebalanceNotice(text), /expected .*, got "/, text);
  });
});

describe('parse spot notice', () => {
  test('a spot notice gives the action and its time', () => {
    assert.deepEqual(parseSpotNotice('{"action":"terminate","time":"2026-11-22T10:26:18Z"}'), {
      kind: 'spot-interruption',
      action: 'terminate',
      time: '2026-11-22T10:26:18.000Z',
    });
  });

  test('a spot notice with an unreadable time is still a notice', () => {
    for (const text of [
      '{"action":"hibernate"}',
      '{"action":"hibernate","time":"soon"}',
      '{"action":"hibernate","time":4}',
    ])
      assert.deepEqual(parseSpotNotice(text), { kind: 'spot-interruption', action: 'hibernate', time: null });
  });

  test('text that is not a spot notice is an error that quotes it', () => {
    for (const text of ['', '<html>', '[]', '{}', '{"action":42}', '{"action":"rm -rf"}'])
      assert.throws(
        () => parseSpotNotice(text),
        /^SourceError: IMDS spot\/instance-action: .*expected .*, got "/,
        text,
      );
  });
});

describe('read notices', () => {
  const { signal } = new AbortController();

  function openClient(t: TestContext, endpoint: string) {
    const client = createImdsClient({ endpoint, clock: scaledClock(0.25), allowV1: false });
    t.after(() => client.close());
    return client;
  }

  async function startNode(t: TestContext) {
    const { simulator, id, imdsEndpoint } = await simulateNode(t);
    return { simulator, id, imds: openClient(t, imdsEndpoint) };
  }

  const none = {
    'spot-interruption': null,
    'asg-termination': null,
    maintenance: null,
    'rebalance-recommendation': null,
  };

  test('a node without announcements has no notices, with or without an Auto Scaling group', async (t) => {
    const { simulator, id, imds } = await startNode(t);
    assert.deepEqual(await readNotices(imds, signal), { notices: none, failures: [], notes: [] });
    await simulator.setNotices(id, { lifecycleState: null });
    assert.deepEqual(await readNotices(imds, signal), { notices: none, failures: [], notes: [] });
  });

  test('every kind of notice is read', async (t) => {
    const { simulator, id, imds } = await startNode(t);
    const event = { Code: 'instance-stop', NotBefore: '21 Jan 2027 09:00:43 GMT', Description: 'd', EventId: 'e' };
    await simulator.setNotices(id, {
      spot: { action: 'stop', time: '2026-11-22T10:26:18Z' },
      rebalance: { noticeTime: '2026-11-22T10:20:00Z' },
      maintenance: [{ ...event, State: 'active' }],
      lifecycleState: 'Terminated',
    });
    const { notices, failures } = await readNotices(imds, signal);
    assert.deepEqual(failures, []);
    assert.deepEqual(
      Object.entries(notices)
        .map(([kind, notice]) => [kind, notice?.kind, notice?.action, notice?.time])
        .sort(),
      [
        ['asg-termination', 'asg-termination', 'terminate', null],
        ['maintenance', 'maintenance', 'instance-stop', '2027-01-21T09:00:43.000Z'],
        ['rebalance-recommendation', 'rebalance-recommendation', null, '2026-11-22T10:20:00.000Z'],
        ['spot-interruption', 'spot-interruption', 'stop', '2026-11-22T10:26:18.000Z'],
      ],
    );
  });

  /** A service without notices, except on the paths in `special`. */
  const startLeaves = (t: TestContext, special: Readonly<Record<string, (res: ServerResponse) => void>>) =>
    startRawServer(t, (req, res) => {
      const path = req.url?.replace('/latest/', '').replace('meta-data/', '') ?? '';
      if (path === 'api/token') res.end('TOKEN');
      else if (special[path]) special[path](res);
      else res.writeHead(404).end();
    });

  test('a leaf that cannot be read is absent and named; the others are read', async (t) => {
    const server = await startLeaves(t, {
      'spot/instance-action': (res) => res.writeHead(500).end(),
      'events/maintenance/scheduled': () => {}, // never answers
      'autoscaling/target-lifecycle-state': (res) => res.end('Terminated'),
    });
    const { notices, failures } = await readNotices(openClient(t, server.endpoint), signal);
    assert.deepEqual(Object.keys(notices).sort(), ['asg-termination', 'rebalance-recommendation']);
    assert.equal(notices['asg-termination']?.action, 'terminate');
    assert.equal(failures.length, 2);
    assert.match(
      failures.join('\n'),
      /maintenance\/scheduled at .*: no answer within 700 ms\n.*instance-action: HTTP 500/,
    );
  });

  test('each kind that takes the node away is a failure where it cannot be read', async (t) => {
    for (const path of ['spot/instance-action', 'autoscaling/target-lifecycle-state', 'events/maintenance/scheduled']) {
      const server = await startLeaves(t, { [path]: (res) => res.writeHead(401).end() });
      const { failures, notes } = await readNotices(openClient(t, server.endpoint), signal);
      assert.deepEqual([failures, notes], [[`IMDS meta-data/${path}: HTTP 401`], []]);
    }
  });

  test('a maintenance event that cannot be read hides none of the others, and is a failure while it is not over', async (t) => {
    const stop = { Code: 'instance-stop', NotBefore: '21 Jan 2027 09:00:43 GMT', State: 'active' };
    const read = async (...events: unknown[]) => {
      const text = JSON.stringify(events);
      const server = await startLeaves(t, { 'events/maintenance/scheduled': (res) => res.end(text) });
      return readNotices(openClient(t, server.endpoint), signal);
    };
    for (const odd of [null, 3, { Code: 'Stop it', NotBefore: 'soon', State: 'active' }]) {
      const { notices, failures } = await read(odd, stop);
      assert.equal(notices.maintenance?.action, 'instance-stop');
      assert.match(failures.join(), /^IMDS events\/maintenance\/scheduled: Code: expected an event's code, got /);
      // It may be what takes the node away: so a notice that is known stays.
      assert.equal('maintenance' in (await read(odd)).notices, false);
    }
    const over = await read({ Code: 'Stop it', State: 'completed' }, stop);
    assert.deepEqual([over.notices.maintenance?.action, over.failures], ['instance-stop', []]);
  });

  test('a recommendation that cannot be read is only a note', async (t) => {
    const path = 'events/recommendations/rebalance';
    const server = await startLeaves(t, { [path]: (res) => res.writeHead(401).end() });
    const { notices, failures, notes } = await readNotices(openClient(t, server.endpoint), signal);
    assert.deepEqual([Object.keys(notices).length, failures], [3, []]);
    assert.deepEqual(notes, [`IMDS meta-data/${path}: HTTP 401`]);
  });

  test('an unavailable service is one failure, not four, and clears no notice', async (t) => {
    const { simulator, id, imds } = await startNode(t);
    await simulator.setFault(id, { imds: 'refuse' });
    const { notices, failures, notes } = await readNotices(imds, signal);
    assert.deepEqual([notices, notes], [{}, []]);
    assert.equal(failures.length, 1);
    assert.match(failures[0] ?? '', /connection refused/);
  });

  for (const fault of ['html', 'wrong-type', 'error500', 'truncated', 'oversized'] as const) {
    test(`with the fault ${fault} no notice is invented`, async (t) => {
      const { simulator, id, imds } = await startNode(t);
      await simulator.setFault(id, { imds: fault });
      const { notices } = await readNotices(imds, signal);
      assert.deepEqual(Object.values(notices).filter(Boolean), []);
    });
  }
});
