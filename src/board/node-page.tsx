import { useEffect, useRef } from 'preact/hooks';
import { printable } from '../lib/foreign-text.ts';
import type { DrainJson } from './feed.ts';
import { Banner } from './head.tsx';
import type { NodeEvents } from './node-history.ts';
import type { BoardNode } from './nodes.ts';
import { EventItem } from './overview.tsx';
import { Copy } from './table.tsx';
import { commandsFor, drainAgeText, momentText, nodeAgeText, nodeClockText } from './text.ts';

interface NodePageProps {
  readonly id: string;
  /** null: it is not on the roll. */
  readonly node: BoardNode | null;
  /** Whether there is a roll, however old. */
  readonly isRead: boolean;
  /** null: not asked for yet. */
  readonly events: NodeEvents | null;
  readonly drain: DrainJson | null;
  /** Now by the agent's clock. */
  readonly nowMs: number;
  /** Now by EC2's. */
  readonly ec2Ms: number;
  readonly origin: string;
  readonly authorized: boolean;
  readonly onBack: () => void;
  readonly onCopy: (text: string) => void;
}

/** Everything about one node. */
export function NodePage(props: NodePageProps) {
  const { id, node, isRead, events, drain, nowMs, ec2Ms, origin, authorized, onBack, onCopy } = props;
  const title = useRef<HTMLHeadingElement>(null);
  // The link that led here is gone, and with it the place of the keyboard and of a screen reader.
  useEffect(() => title.current?.focus({ preventScroll: true }), [id]);
  return (
    <article class="node">
      <button type="button" class="back" onClick={onBack}>
        ← All nodes
      </button>
      <h1 tabIndex={-1} ref={title}>
        {node?.address ?? printable(id)}
        {node && <span class={`mood strong ${node.mood}`}>{node.mood === 'departed' ? node.state : node.mood}</span>}
      </h1>
      {!node && !isRead && <p class="empty">No roll has been read yet.</p>}
      {!node && isRead && (
        <Banner tone="note" title="Not on the roll">
          The agent has no record of this node that it can read: the node never registered, or its record was kept for
          its retention and is gone, or is of a version that this agent does not know.
        </Banner>
      )}
      {node?.notice && (
        <Banner tone="doubt" title={`EC2 notice: ${node.notice}`}>
          {printable(node.record.interruption?.time ?? '')}
        </Banner>
      )}
      {drain && (
        <Banner tone="note" title={`Drain: ${drain.phase ?? 'unreadable'}`}>
          {printable(drain.reason ?? '')} {drain.since && `for ${drainAgeText(drain, nowMs, ec2Ms)}`}
        </Banner>
      )}
      {node && <Checks node={node} ec2Ms={ec2Ms} />}
      <div class="columns">
        {node && <Facts node={node} ec2Ms={ec2Ms} onCopy={onCopy} />}
        {events && <Events events={events} nowMs={nowMs} />}
      </div>
      {node && (
        <section class="panel commands">
          <h2>Look further</h2>
          <dl>
            {commandsFor(node, origin, authorized).map(({ what, line }) => (
              <div key={what}>
                <dt>{what}</dt>
                <dd>
                  <code>{line}</code>
                  <Copy what={`the command for ${what}`} text={line} onCopy={onCopy} />
                </dd>
              </div>
            ))}
          </dl>
        </section>
      )}
    </article>
  );
}

function Checks({ node, ec2Ms }: { node: BoardNode; ec2Ms: number }) {
  return (
    <section class="panel">
      <h2>Checks {node.mood !== node.health && <small>as they were when it was last present</small>}</h2>
      <table class="checks">
        <thead>
          <tr>
            <th scope="col">Check</th>
            <th scope="col">Status</th>
            <th scope="col">Since</th>
            <th scope="col">Reason</th>
          </tr>
        </thead>
        <tbody>
          {node.record.health.checks.map(({ name, status, since, reason }) => (
            <tr key={name}>
              <th scope="row">{printable(name)}</th>
              <td>
                <i class={status} aria-hidden="true" /> {status}
              </td>
              <td title={since}>{nodeAgeText(node.record, since, ec2Ms)}</td>
              <td>{printable(reason)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** What happened to the node, newest first, and how far back that reaches. */
function Events({ events, nowMs }: { events: NodeEvents; nowMs: number }) {
  const { lines, earlier, log, error } = events;
  const since = log && momentText(Date.parse(log.since), nowMs);
  return (
    <section class="panel own-events">
      <h2>
        Events <small>since {since ?? 'this page was opened'}</small>
      </h2>
      {error !== null && (
        <p class="hint" role="status">
          {log ? 'The log of this agent could not be read again' : 'What happened before is not shown'}:{' '}
          {printable(error)}.
        </p>
      )}
      {lines.length === 0 && <p class="empty">No event of this node since.</p>}
      <ol class="lines">
        {lines.map((line) => (
          <EventItem key={line.id} line={line} nowMs={nowMs} onNode={null} />
        ))}
        {earlier.length > 0 && (
          <li class="hint">The log of this agent begins at {since}. What happened shortly before may be missing.</li>
        )}
        {earlier.map((line) => (
          <EventItem key={line.id} line={line} nowMs={nowMs} onNode={null} />
        ))}
      </ol>
      {log && <p class="hint">{reachText(log, since ?? '')}</p>}
    </section>
  );
}

function reachText({ since, begun, omitted }: NonNullable<NodeEvents['log']>, at: string): string {
  if (omitted > 0) return `${omitted.toLocaleString('en')} older ones are not shown.`;
  if (since === begun) return `This agent began its log at ${at}, at first or anew; what happened before is not in it.`;
  return `This agent keeps the newest events of all nodes: what happened before ${at} is not in its log any more.`;
}

/** Left out where they do not apply; of the others an unknown value is shown as such. */
const ONLY_IF_KNOWN: readonly string[] = ['lease', 'agent started', 'departed', 'clock'];

function Facts({ node, ec2Ms, onCopy }: { node: BoardNode; ec2Ms: number; onCopy: (text: string) => void }) {
  const { record } = node;
  const { presence, versionInfo, sidecar, departure } = record;
  const ago = (at: string | null) => at && `${nodeAgeText(record, at, ec2Ms)} ago`;
  const facts: readonly (readonly [string, string | null | undefined])[] = [
    ['state', node.state],
    ['lease', presence.ttlSeconds === null ? null : `${presence.ttlSeconds} s`],
    ['agent started', ago(presence.since)],
    ['departed', departure && ago(departure.at)],
    ['instance', node.id],
    ['container instance ARN', node.arn],
    ['cluster', node.cluster],
    ['private address', node.address],
    ['public address', record.publicIpAddress],
    ['private DNS name', record.privateDnsName],
    ['zone', node.zone],
    ['instance type', node.type],
    ['lifecycle', record.instanceLifecycle],
    ['image', record.imageId],
    ['account', record.accountId],
    ['ecs-agent', [versionInfo.agentVersion, versionInfo.agentHash].filter(Boolean).join(' ')],
    ['rollcall', sidecar.version],
    ['machine id', record.machineId],
    ['clock', nodeClockText(record)],
    ['labels', node.labels.join('  ')],
  ];
  return (
    <section class="panel facts">
      <h2>Record</h2>
      <dl>
        {facts
          .filter(([name, value]) => value || !ONLY_IF_KNOWN.includes(name))
          .map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>
                {value ? printable(value) : '–'}
                {value && (name.endsWith('ARN') || name.endsWith('address')) && (
                  <Copy what={name} text={printable(value)} onCopy={onCopy} />
                )}
              </dd>
            </div>
          ))}
      </dl>
    </section>
  );
}
