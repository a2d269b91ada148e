import { useMemo, useState } from 'preact/hooks';
import type { EventLine } from './board-roll.ts';
import { type BoardNode, isInTile, MOODS, type Mood, type Tile, type Zone, zonesOf } from './nodes.ts';
import { momentText, noNodesText } from './text.ts';
import { UNKNOWN } from './view.ts';

interface TilesProps {
  readonly nodes: readonly BoardNode[];
  readonly draining: ReadonlySet<string>;
  /** Now on EC2's clock. */
  readonly ec2Ms: number;
  readonly selected: Tile | null;
  readonly onSelect: (tile: Tile | null) => void;
}

const TILE_TEXTS: readonly (readonly [tile: Tile, text: string])[] = [
  ['present', 'present'],
  ['passing', 'passing'],
  ['warning', 'warning'],
  ['critical', 'critical'],
  ['lost', 'lost'],
  ['departed', 'departed (24 h)'],
  ['notices', 'notices'],
  ['draining', 'draining'],
];

/** The numbers; each filters the table. */
export function Tiles({ nodes, draining, ec2Ms, selected, onSelect }: TilesProps) {
  return (
    <ul class="tiles" aria-label="Numbers of nodes">
      {TILE_TEXTS.map(([tile, text]) => {
        let count = 0;
        for (const node of nodes) if (isInTile(tile, node, draining, ec2Ms)) count += 1;
        return (
          <li key={tile}>
            <button
              type="button"
              class={`tile ${tile} ${count === 0 ? 'none' : ''}`}
              aria-pressed={selected === tile}
              onClick={() => onSelect(selected === tile ? null : tile)}
            >
              <b>{count.toLocaleString('en')}</b>
              <span>{text}</span>
            </button>
          </li>
        );
      })}
    </ul>
  );
}

/** So many have room for larger squares. */
const FEW_NODES = 150;

interface ZonesProps {
  readonly nodes: readonly BoardNode[];
  /** The one whose nodes these are; null for all. */
  readonly cluster: string | null;
  /** Whether there is a roll, however old. */
  readonly isRead: boolean;
  readonly selected: string | null;
  readonly onSelect: (zone: string | null) => void;
  readonly onNode: (id: string) => void;
}

/** A row for each zone, a square for each node: a dark row is a zone that is gone. */
export function Zones({ nodes, cluster, isRead, selected, onSelect, onNode }: ZonesProps) {
  const { zones, perSquare } = useMemo(() => zonesOf(nodes), [nodes]);
  return (
    <section class="zones panel" aria-labelledby="zones-title">
      <h2 id="zones-title">
        Zones <small>{perSquare === 1 ? 'a square is a node' : `a square is up to ${perSquare} nodes`}</small>
        <Legend />
      </h2>
      {zones.map((zone) => {
        const name = zone.name ?? UNKNOWN;
        const isSelected = selected === name;
        return (
          <div class={`zone-row ${selected !== null && !isSelected ? 'dim' : ''}`} key={name}>
            <button type="button" aria-pressed={isSelected} onClick={() => onSelect(isSelected ? null : name)}>
              {name}
              <span>{countsText(zone)}</span>
            </button>
            {/* The squares repeat what the button says, for eyes; the table has the same nodes for the keyboard. */}
            <div
              class={`squares ${nodes.length <= FEW_NODES ? 'few' : ''}`}
              aria-hidden="true"
              onClick={({ target }) => {
                const id = target instanceof HTMLElement ? target.dataset['node'] : undefined;
                if (id) onNode(id);
              }}
            >
              {zone.squares.map(({ mood, count, node }, index) => (
                <i
                  key={node?.id ?? `${mood} ${index}`}
                  class={mood}
                  data-node={node?.id}
                  title={node ? `${node.address ?? node.id}: ${node.mood} ${node.reason}` : `${count} ${mood}`}
                />
              ))}
            </div>
          </div>
        );
      })}
      {zones.length === 0 && <p class="empty">{noNodesText(cluster, isRead)}</p>}
    </section>
  );
}

function countsText({ counts }: Zone): string {
  const found = MOODS.filter((mood) => counts[mood] > 0);
  return found.map((mood: Mood) => `${counts[mood].toLocaleString('en')} ${mood}`).join(', ');
}

function Legend() {
  return (
    <span class="legend" aria-hidden="true">
      {MOODS.map((mood) => (
        <span key={mood}>
          <i class={mood} /> {mood}
        </span>
      ))}
    </span>
  );
}

interface EventsProps {
  readonly lines: readonly EventLine[];
  /** Of the agent's clock. */
  readonly nowMs: number;
  readonly onNode: (id: string) => void;
}

/** More lines than anybody scrolls through. */
const SHOWN_LINES = 100;

/** What happens, newest first. A pause keeps the lines still; nothing is missed. */
export function LiveEvents({ lines, nowMs, onNode }: EventsProps) {
  const [held, setHeld] = useState<readonly EventLine[] | null>(null);
  const shown = held ?? lines;
  const newest = held?.[0];
  const waiting = held === null ? 0 : newest ? lines.indexOf(newest) : lines.length;
  return (
    <section class="events panel" aria-labelledby="events-title">
      <h2 id="events-title">
        Events
        <button type="button" class="quiet" aria-pressed={held !== null} onClick={() => setHeld(held ? null : lines)}>
          {held === null ? 'Pause' : waiting === 0 ? 'Resume' : `Resume (${waiting < 0 ? 'many' : waiting} new)`}
        </button>
      </h2>
      {shown.length === 0 && <p class="empty">Nothing has happened since this page was opened.</p>}
      <ol class="lines">
        {shown.slice(0, SHOWN_LINES).map((line) => (
          <EventItem key={line.id} line={line} nowMs={nowMs} onNode={onNode} />
        ))}
      </ol>
    </section>
  );
}

interface EventItemProps {
  readonly line: EventLine;
  readonly nowMs: number;
  /** null: the page is that of the node. */
  readonly onNode: ((id: string) => void) | null;
}

export function EventItem({ line, nowMs, onNode }: EventItemProps) {
  const { kind, time, instanceId, address, text } = line;
  return (
    <li class={kind}>
      <time dateTime={time}>{momentText(Date.parse(time), nowMs)}</time>
      <b>{kind}</b>
      {instanceId && onNode && (
        <a
          href={`?node=${instanceId}`}
          onClick={(event) => {
            event.preventDefault();
            onNode(instanceId);
          }}
        >
          {address ?? instanceId}
        </a>
      )}
      {text && <span>{text}</span>}
    </li>
  );
}
