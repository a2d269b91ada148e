import { useMemo } from 'preact/hooks';
import type { BoardRoll } from './board-roll.ts';
import { auditAgeMs, ec2NowMs, type Feed, pageAgeMs } from './feed.ts';
import { AuditPanel, DrainsPanel, differenceCount } from './findings.tsx';
import { Banners, Head, Picker } from './head.tsx';
import type { NodeEvents } from './node-history.ts';
import { NodePage } from './node-page.tsx';
import { LiveEvents, Tiles, Zones } from './overview.tsx';
import { NodesTable } from './table.tsx';
import { apiPath, facetsOf, isFiltered, type SortField, selectNodes, type Tab, unfiltered, type View } from './view.ts';

interface AppProps {
  readonly feed: Feed;
  readonly roll: BoardRoll;
  readonly view: View;
  /** Of the node that the view shows; null: it shows none. */
  readonly nodeEvents: NodeEvents | null;
  /** On the page's monotonic clock, as the times of the feed. */
  readonly monotonicMs: number;
  /** Of the agent's clock. */
  readonly nowMs: number;
  readonly origin: string;
  readonly authorized: boolean;
  /** What was copied last, for a moment; null: nothing. */
  readonly copied: string | null;
  /** @param isStep the reader can go back to the view before */
  readonly onView: (view: View, isStep: boolean) => void;
  readonly onCopy: (text: string) => void;
  readonly onToken: (token: string) => void;
}

/** Phases of a drain in which ECS has the node DRAINING, or is asked for it. */
const DRAINING = ['asked', 'drained', 'activating', 'manual'];

export function App(props: AppProps) {
  const { feed, roll, view, nowMs, onView, onCopy } = props;
  // The map is changed in place; its version says when.
  const { version } = roll;
  const isRead = roll.revision !== null;
  const ageMs = pageAgeMs(feed, props.monotonicMs);
  const draining = useMemo(
    () =>
      new Set(
        feed.drains
          ?.filter(({ phase }) => phase !== null && DRAINING.includes(phase))
          .map((each) => each.ec2InstanceId),
      ),
    [feed.drains],
  );
  const facets = useMemo(() => facetsOf(roll.nodes.values(), view.cluster), [roll, version, view.cluster]);
  const inCluster = useMemo(
    () => [...roll.nodes.values()].filter(({ cluster }) => view.cluster === null || cluster === view.cluster),
    [roll, version, view.cluster],
  );
  const ec2Ms = ec2NowMs(feed, nowMs);
  const minuteMs = Math.floor(ec2Ms / 60_000) * 60_000;
  const shown = useMemo(() => selectNodes(inCluster, view, draining, minuteMs), [inCluster, view, draining, minuteMs]);
  const change = (part: Partial<View>) => onView({ ...view, ...part }, false);
  const openNode = (id: string) => onView({ ...view, node: id }, true);
  // The same object is not drawn again: ages tick each second, and these two are the largest part of the page.
  const tiles = useMemo(
    () => (
      <Tiles
        nodes={inCluster}
        draining={draining}
        ec2Ms={minuteMs}
        selected={view.tile}
        onSelect={(tile) => change({ tile, tab: 'nodes' })}
      />
    ),
    [inCluster, draining, minuteMs, view],
  );
  const zones = useMemo(
    () => (
      <Zones
        nodes={inCluster}
        cluster={view.cluster}
        isRead={isRead}
        selected={view.zone}
        onSelect={(zone) => change({ zone, tab: 'nodes' })}
        onNode={openNode}
      />
    ),
    [inCluster, isRead, view],
  );
  if (feed.phase === 'denied') return <TokenForm wasRefused={props.authorized} onToken={props.onToken} />;
  return (
    <>
      <a class="skip" href="#main">
        Skip to the nodes
      </a>
      <Head
        feed={feed}
        revision={roll.revision}
        ageMs={ageMs}
        facets={facets}
        cluster={view.cluster}
        onCluster={(cluster) => change({ cluster })}
        search={view.search}
        onSearch={(search) => change({ search, tab: 'nodes', node: null })}
      />
      <main id="main" aria-busy={feed.phase === 'loading'}>
        <Banners
          feed={feed}
          uncertainty={roll.uncertainty}
          ageMs={ageMs}
          drainsAgeMs={props.monotonicMs - feed.drainsAtMs}
          nowMs={nowMs}
        />
        {view.node !== null ? (
          <NodePage
            id={view.node}
            node={roll.nodes.get(view.node) ?? null}
            isRead={isRead}
            events={props.nodeEvents}
            drain={feed.drains?.find((each) => each.ec2InstanceId === view.node) ?? null}
            nowMs={nowMs}
            ec2Ms={ec2Ms}
            origin={props.origin}
            authorized={props.authorized}
            onBack={() => onView({ ...view, node: null }, true)}
            onCopy={onCopy}
          />
        ) : (
          <>
            {tiles}
            <div class="overview">
              {zones}
              <LiveEvents lines={roll.lines} nowMs={nowMs} onNode={openNode} />
            </div>
            <Tabs {...props} shownCount={shown.length} onTab={(tab) => change({ tab })} />
            {view.tab === 'audit' && (
              <AuditPanel
                audit={feed.audit}
                ageMs={auditAgeMs(feed, props.monotonicMs)}
                error={feed.auditError}
                ec2Ms={ec2Ms}
                onNode={openNode}
              />
            )}
            {view.tab === 'drains' && (
              <DrainsPanel
                drains={feed.drains}
                ageMs={props.monotonicMs - feed.drainsAtMs}
                error={feed.drainsError}
                nowMs={nowMs}
                ec2Ms={ec2Ms}
                onNode={openNode}
              />
            )}
            {view.tab === 'nodes' && (
              <>
                <div class="filters">
                  {(['zone', 'type', 'agent', 'label'] as const).map((name) => (
                    <Picker
                      key={name}
                      name={FACET_NAMES[name]}
                      value={view[name]}
                      values={facets[name]}
                      onPick={(value) => change({ [name]: value })}
                    />
                  ))}
                  {isFiltered(view) && (
                    <button type="button" class="quiet" onClick={() => onView(unfiltered(view), false)}>
                      Clear filters
                    </button>
                  )}
                  <ApiLink {...props} />
                </div>
                <NodesTable
                  nodes={shown}
                  draining={draining}
                  nowMs={nowMs}
                  ec2Ms={ec2Ms}
                  sort={view.sort}
                  descending={view.descending}
                  onSort={(sort) => change(sortBy(view, sort))}
                  onNode={openNode}
                  onCopy={onCopy}
                />
                {shown.length === 0 && isRead && (
                  <p class="empty">{isFiltered(view) ? 'No node matches the filters.' : 'No node is on the roll.'}</p>
                )}
              </>
            )}
          </>
        )}
      </main>
      <footer>
        rollcall {feed.self?.version ?? ''}, read from {props.origin}. Times of day are yours; ages are by the agent’s
        clock.
      </footer>
      <output class="toast">{props.copied === null ? '' : `Copied ${props.copied}`}</output>
    </>
  );
}

const FACET_NAMES = { zone: 'Zone', type: 'Type', agent: 'ecs-agent', label: 'Label' } as const;

function sortBy(view: View, sort: SortField): Partial<View> {
  return { sort, descending: view.sort === sort && !view.descending };
}

interface TabsProps extends AppProps {
  readonly shownCount: number;
  readonly onTab: (tab: Tab) => void;
}

function Tabs({ feed, view, shownCount, onTab }: TabsProps) {
  const tabs: readonly (readonly [Tab, string, number | null])[] = [
    ['nodes', 'Nodes', shownCount],
    ['audit', 'Audit', feed.audit && differenceCount(feed.audit.report)],
    ['drains', 'Drains', feed.drains && feed.draining],
  ];
  return (
    <nav class="tabs" aria-label="Lists">
      {tabs.map(([tab, title, count]) => (
        <button key={tab} type="button" aria-current={view.tab === tab ? 'page' : undefined} onClick={() => onTab(tab)}>
          {title} {count !== null && <span>{count.toLocaleString('en')}</span>}
        </button>
      ))}
    </nav>
  );
}

/** The same question to the API. A link sends no token, so where there is one the command is copied instead. */
function ApiLink({ view, origin, authorized, onCopy }: AppProps) {
  const path = apiPath(view);
  if (!authorized) {
    return (
      <a class="api" href={path}>
        as JSON
      </a>
    );
  }
  const line = `curl -s -H "Authorization: Bearer $TOKEN" '${origin}${path}'`;
  return (
    <button type="button" class="quiet api" title={line} onClick={() => onCopy(line)}>
      copy as curl
    </button>
  );
}

function TokenForm({ wasRefused, onToken }: { wasRefused: boolean; onToken: (token: string) => void }) {
  return (
    <main class="gate">
      <form
        class="panel"
        onSubmit={(event) => {
          event.preventDefault();
          const { value } = event.currentTarget.elements.namedItem('token') as HTMLInputElement;
          if (value.trim() !== '') onToken(value.trim());
        }}
      >
        <h1>This agent asks for a token</h1>
        <p>
          It is in the file of the agent’s <code>--listen-token-file</code>. This tab keeps it until it is closed.
        </p>
        {wasRefused && (
          <p class="banner bad" role="alert">
            <strong>Refused.</strong> The agent does not know that token.
          </p>
        )}
        <label>
          Token <input name="token" type="password" autocomplete="off" required />
        </label>
        <button type="submit">Look at the fleet</button>
      </form>
    </main>
  );
}
