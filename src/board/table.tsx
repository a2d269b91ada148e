import { Component } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type BoardNode, stateAgeMs } from './nodes.ts';
import { ageText } from './text.ts';
import type { SortField } from './view.ts';

interface NodesTableProps {
  readonly nodes: readonly BoardNode[];
  readonly draining: ReadonlySet<string>;
  /** Of the agent's clock, in whole seconds, so that rows are not drawn anew more often. */
  readonly nowMs: number;
  /** The same of EC2's clock. */
  readonly ec2Ms: number;
  readonly sort: SortField;
  readonly descending: boolean;
  readonly onSort: (field: SortField) => void;
  readonly onNode: (id: string) => void;
  readonly onCopy: (text: string) => void;
}

const COLUMNS: readonly (readonly [field: SortField, title: string])[] = [
  ['address', 'Address'],
  ['instance', 'Instance'],
  ['cluster', 'Cluster'],
  ['zone', 'Zone'],
  ['health', 'Health'],
  ['since', 'Since'],
  ['agent', 'ecs-agent'],
  ['notice', 'Notice'],
  ['labels', 'Labels'],
  ['state', 'State'],
];

/** Rows above and below the window, so that a fast scroll shows no gap. */
const SPARE_ROWS = 12;

/** Only the rows in the window are in the page: 10,000 would take seconds. */
export function NodesTable(props: NodesTableProps) {
  const { nodes, draining, nowMs, ec2Ms, sort, descending, onSort, onNode, onCopy } = props;
  const body = useRef<HTMLTableSectionElement>(null);
  const { first, last, rowPx } = useWindowRows(body, nodes.length);
  const shown = nodes.slice(first, last);
  return (
    <table class="nodes" aria-rowcount={nodes.length + 1}>
      <caption class="unseen">Nodes, {nodes.length} of them</caption>
      <thead>
        <tr aria-rowindex={1}>
          {COLUMNS.map(([field, title]) => (
            <th
              key={field}
              scope="col"
              class={field}
              aria-sort={sort !== field ? 'none' : descending ? 'descending' : 'ascending'}
            >
              <button type="button" onClick={() => onSort(field)}>
                {title}
              </button>
            </th>
          ))}
        </tr>
      </thead>
      <tbody ref={body}>
        {first > 0 && <Gap rows={first} rowPx={rowPx} />}
        {shown.map((node, index) => (
          <Row
            key={node.id}
            node={node}
            index={first + index + 2}
            age={ageOf(stateAgeMs(node, nowMs, ec2Ms))}
            isDraining={draining.has(node.id)}
            onNode={onNode}
            onCopy={onCopy}
          />
        ))}
        {last < nodes.length && <Gap rows={nodes.length - last} rowPx={rowPx} />}
      </tbody>
    </table>
  );
}

function ageOf(ms: number | null): string {
  return ms === null ? '–' : ageText(ms);
}

function Gap({ rows, rowPx }: { rows: number; rowPx: number }) {
  return (
    <tr class="gap" style={{ height: `${rows * rowPx}px` }}>
      <td colSpan={COLUMNS.length} />
    </tr>
  );
}

interface RowProps {
  readonly node: BoardNode;
  readonly index: number;
  readonly age: string;
  readonly isDraining: boolean;
  readonly onNode: (id: string) => void;
  readonly onCopy: (text: string) => void;
}

class Row extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    const { node, index, age, isDraining } = this.props;
    return node !== next.node || index !== next.index || age !== next.age || isDraining !== next.isDraining;
  }

  override render({ node, index, age, isDraining, onNode, onCopy }: RowProps) {
    const { id, address, arn, mood } = node;
    const isThere = mood !== 'lost' && mood !== 'departed';
    const state = !isDraining ? node.state : mood === 'lost' ? 'lost, draining' : 'draining';
    return (
      <tr aria-rowindex={index}>
        <th scope="row" class="address">
          <a
            class={`mood ${mood === 'departed' ? mood : ''}`}
            href={`?node=${id}`}
            onClick={(event) => {
              event.preventDefault();
              onNode(id);
            }}
          >
            {address ?? 'no address'}
          </a>
          {address && <Copy what={`address ${address}`} text={address} onCopy={onCopy} />}
        </th>
        <td class="instance" title={arn ?? 'no container instance ARN yet'}>
          <span>{id}</span>
          {arn && <Copy what={`ARN of ${id}`} label="ARN" text={arn} onCopy={onCopy} />}
        </td>
        <td class="cluster" title={node.cluster ?? ''}>
          {node.cluster ?? '–'}
        </td>
        <td class="zone">{node.zone ?? '–'}</td>
        <td class="health" title={node.reason}>
          <i class={node.mood} aria-hidden="true" />{' '}
          <b class={`mood ${mood}`}>{isThere ? node.health : `was ${node.health}`}</b> {node.reason}
        </td>
        <td class="since" title={node.since ?? ''}>
          {age}
        </td>
        <td class="agent">{node.agentVersion ?? '–'}</td>
        <td class="notice" title={node.notice ?? ''}>
          {node.notice ?? ''}
        </td>
        <td class="labels" title={node.labels.join('\n')}>
          {node.labels.map((label) => (
            <span class="label" key={label}>
              {label}
            </span>
          ))}
        </td>
        <td class={`state mood ${mood}`} title={state}>
          {state}
        </td>
      </tr>
    );
  }
}

interface CopyProps {
  readonly what: string;
  readonly text: string;
  readonly label?: string;
  readonly onCopy: (text: string) => void;
}

export function Copy({ what, text, label = 'copy', onCopy }: CopyProps) {
  return (
    <button type="button" class="copy" aria-label={`Copy ${what}`} title={`Copy ${text}`} onClick={() => onCopy(text)}>
      {label}
    </button>
  );
}

/** Which rows of `count` are in the window, by the height of the first one drawn. */
function useWindowRows(body: { readonly current: HTMLElement | null }, count: number) {
  const [range, setRange] = useState({ first: 0, last: 60, rowPx: 30 });
  useLayoutEffect(() => {
    const measure = () => {
      if (!body.current) return;
      const row = body.current.querySelector('tr:not(.gap)');
      const rowPx = row?.getBoundingClientRect().height || 30;
      const above = -body.current.getBoundingClientRect().top / rowPx;
      // In steps, so that a scroll of a few pixels draws nothing.
      const from = Math.floor((above - SPARE_ROWS) / SPARE_ROWS) * SPARE_ROWS;
      const first = Math.max(0, Math.min(from, count - 1));
      const last = Math.min(count, Math.max(0, from) + Math.ceil(window.innerHeight / rowPx) + 3 * SPARE_ROWS);
      setRange((old) =>
        old.first === first && old.last === last && old.rowPx === rowPx ? old : { first, last, rowPx },
      );
    };
    measure();
    window.addEventListener('scroll', measure, { passive: true });
    window.addEventListener('resize', measure);
    return () => {
      window.removeEventListener('scroll', measure);
      window.removeEventListener('resize', measure);
    };
  }, [body, count]);
  return { ...range, first: Math.min(range.first, count), last: Math.min(range.last, count) };
}
