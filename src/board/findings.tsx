import { DIFFERENCE_KINDS } from '../audit/audit-report.ts';
import { printable } from '../lib/foreign-text.ts';
import type { AuditJson, DrainJson } from './feed.ts';
import { Banner } from './head.tsx';
import { ageText, drainAgeText } from './text.ts';

interface AuditPanelProps {
  readonly audit: AuditJson | null;
  /** null: not known. */
  readonly ageMs: number | null;
  /** Why it could not be read since; null: it could. */
  readonly error: string | null;
  /** Now by EC2's clock. */
  readonly ec2Ms: number;
  readonly onNode: (id: string) => void;
}

/** How many differences there are, also those that the agent leaves out. */
export function differenceCount({ differences, omitted }: AuditJson['report']): number {
  return DIFFERENCE_KINDS.reduce((sum, kind) => sum + (omitted[kind] ?? 0), differences.length);
}

/** What the continuous audit found: the roll against ECS. */
export function AuditPanel({ audit, ageMs, error, ec2Ms, onNode }: AuditPanelProps) {
  if (!audit) return <p class="empty">{error ? printable(error) : 'Loading …'}</p>;
  const { report } = audit;
  const findings = [...report.differences, ...report.notes];
  const left = Object.entries(report.omitted)
    .filter(([kind]) => kind !== 'cluster')
    .map(([kind, count]) => `${count.toLocaleString('en')} more of the kind ${kind}`);
  return (
    <section class="panel">
      <h2>
        Audit{' '}
        <small>
          {report.agreeing.toLocaleString('en')} agree, {differenceCount(report).toLocaleString('en')} differ
          {ageMs !== null && `; ${ageText(ageMs)} old`}
          {audit.stale && ', stale'}
        </small>
      </h2>
      {error !== null && (
        <Banner tone="note" title="It cannot be read any more">
          {printable(error)}
        </Banner>
      )}
      {findings.length === 0 && <p class="empty">The roll and ECS agree.</p>}
      {findings.length > 0 && (
        <table class="findings">
          <thead>
            <tr>
              <th scope="col">Finding</th>
              <th scope="col">Instance</th>
              <th scope="col">Cluster</th>
              <th scope="col">Since</th>
              <th scope="col">Reason</th>
            </tr>
          </thead>
          <tbody>
            {findings.map((each) => (
              <tr key={`${each.kind} ${each.instanceId} ${each.containerInstanceArn}`} class={each.kind}>
                <th scope="row">{each.kind}</th>
                <td>
                  <NodeLink id={each.instanceId} onNode={onNode} />
                  {each.instanceId === null && printable(each.containerInstanceArn ?? '–')}
                </td>
                <td>{printable(each.cluster ?? '–')}</td>
                <td>{each.since === null ? '–' : ageText(ec2Ms - Date.parse(each.since))}</td>
                <td>{printable(each.reason)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {left.length > 0 && <p class="hint">Not shown: {left.join(', ')}. rollcall audit names all.</p>}
    </section>
  );
}

interface DrainsPanelProps {
  readonly drains: readonly DrainJson[] | null;
  /** Since they could be read last, if ever. */
  readonly ageMs: number;
  /** Why they could not be read since; null: they could. */
  readonly error: string | null;
  /** Now by the agent's clock. */
  readonly nowMs: number;
  /** Now by EC2's. */
  readonly ec2Ms: number;
  readonly onNode: (id: string) => void;
}

/** The nodes that rollcall drains, or is about to. */
export function DrainsPanel({ drains, ageMs, error, nowMs, ec2Ms, onNode }: DrainsPanelProps) {
  if (!drains) return <p class="empty">{error === null ? 'Loading …' : printable(error)}</p>;
  const age = `read ${ageText(ageMs)} ago`;
  if (drains.length === 0) return <p class="empty">No node is draining because of rollcall ({age}).</p>;
  return (
    <section class="panel">
      <h2>
        Drains <small>{age}</small>
      </h2>
      <table class="findings">
        <thead>
          <tr>
            <th scope="col">Phase</th>
            <th scope="col">Instance</th>
            <th scope="col">Cluster</th>
            <th scope="col">Since</th>
            <th scope="col">Reason</th>
          </tr>
        </thead>
        <tbody>
          {drains.map((each) => (
            <tr key={each.ec2InstanceId}>
              <th scope="row">{each.phase ?? 'unreadable'}</th>
              <td>
                <NodeLink id={each.ec2InstanceId} onNode={onNode} />
              </td>
              <td>{printable(each.cluster ?? '–')}</td>
              <td>{drainAgeText(each, nowMs, ec2Ms) ?? '–'}</td>
              <td>{printable(each.reason ?? '')}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function NodeLink({ id, onNode }: { id: string | null; onNode: (id: string) => void }) {
  if (id === null) return null;
  return (
    <a
      href={`?node=${encodeURIComponent(id)}`}
      onClick={(event) => {
        event.preventDefault();
        onNode(id);
      }}
    >
      {printable(id)}
    </a>
  );
}
