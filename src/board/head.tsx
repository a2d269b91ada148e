import type { ComponentChildren } from 'preact';
import { printable } from '../lib/foreign-text.ts';
import type { Uncertainty } from '../record/events.ts';
import type { Feed } from './feed.ts';
import { ageText, momentText } from './text.ts';
import type { Facets, FacetValue } from './view.ts';

interface HeadProps {
  readonly feed: Feed;
  readonly revision: string | null;
  /** Age of the view; null: nothing was read yet. */
  readonly ageMs: number | null;
  readonly facets: Facets;
  readonly cluster: string | null;
  readonly onCluster: (cluster: string | null) => void;
  readonly search: string;
  readonly onSearch: (search: string) => void;
}

/** Which store, which cluster, how fresh. */
export function Head(props: HeadProps) {
  const { feed, revision, ageMs, facets, cluster, onCluster, search, onSearch } = props;
  return (
    <header class="head">
      <a class="brand" href="/" aria-label="rollcall, the whole fleet">
        <svg viewBox="0 0 18 18" width="18" height="18" aria-hidden="true">
          <path d="M0 0h5v5H0zM6.500 0h5v5h-5zM0 6.500h5v5H0zM6.500 6.500h5v5h-5zM13 6.500h5v5h-5zM0 13h5v5H0zM6.500 13h5v5h-5zM13 13h5v5h-5z" />
          <path class="absent" d="M13.500.5h4v4h-4z" />
        </svg>
        rollcall
      </a>
      <Picker name="Cluster" value={cluster} values={facets.cluster} onPick={onCluster} />
      <label class="search">
        <span class="unseen">Search nodes</span>
        <input
          id="search"
          type="search"
          placeholder="Search: address, id, reason, label …"
          value={search}
          onInput={(event) => onSearch(event.currentTarget.value)}
        />
        <span class="key" aria-hidden="true">
          /
        </span>
      </label>
      <Freshness feed={feed} revision={revision} ageMs={ageMs} />
    </header>
  );
}

interface FreshnessProps {
  readonly feed: Feed;
  readonly revision: string | null;
  readonly ageMs: number | null;
}

/** For each phase, where the view is not fresh. */
const WORDS: Readonly<Record<Feed['phase'], string>> = {
  loading: 'loading',
  live: 'stale',
  paused: 'paused',
  retrying: 'reconnecting',
  denied: 'reconnecting',
};

function Freshness({ feed, revision, ageMs }: FreshnessProps) {
  const isFresh = feed.phase === 'live' && feed.self?.roll.stale !== true;
  const word = isFresh ? 'live' : WORDS[feed.phase];
  return (
    <dl class={`fresh ${isFresh ? '' : word}`}>
      <div class="pulse">
        <dt class="unseen">State of the view</dt>
        <dd>{word}</dd>
      </div>
      <div>
        <dt>age</dt>
        <dd class="age">{ageMs === null ? '–' : ageText(ageMs)}</dd>
      </div>
      <div>
        <dt>revision</dt>
        <dd>{revision ?? '–'}</dd>
      </div>
      <div class="store">
        <dt>store</dt>
        <dd title={feed.self?.lease.store}>{feed.self?.lease.store ?? '–'}</dd>
      </div>
    </dl>
  );
}

interface PickerProps {
  readonly name: string;
  readonly value: string | null;
  readonly values: readonly FacetValue[];
  readonly onPick: (value: string | null) => void;
}

/** One value of a facet, or all. */
export function Picker({ name, value, values, onPick }: PickerProps) {
  const isKnown = value === null || values.some((each) => each.value === value);
  return (
    <label class={`picker ${value === null ? '' : 'on'}`}>
      <span>{name}</span>
      <select value={value ?? ''} onChange={(event) => onPick(event.currentTarget.value || null)}>
        <option value="">all</option>
        {!isKnown && <option value={value ?? ''}>{value} (0)</option>}
        {values.map((each) => (
          <option key={each.value} value={each.value}>
            {each.value} ({each.count})
          </option>
        ))}
      </select>
    </label>
  );
}

interface BannersProps {
  readonly feed: Feed;
  readonly uncertainty: Uncertainty | null;
  readonly ageMs: number | null;
  /** Since the drains could be read last, if ever. */
  readonly drainsAgeMs: number;
  /** Of the agent's clock. */
  readonly nowMs: number;
}

/** What a reader must know before the page is believed. */
export function Banners({ feed, uncertainty, ageMs, drainsAgeMs, nowMs }: BannersProps) {
  const asOf = ageMs === null ? '' : momentText(nowMs - ageMs, nowMs);
  const { roll } = feed.self ?? {};
  const isAway = feed.phase === 'retrying';
  return (
    <div class="banners" aria-live="polite">
      {isAway && (
        <Banner tone="bad" title={ageMs === null ? 'No roll yet' : 'Not connected'}>
          {feed.error}. The page reconnects by itself
          {ageMs === null ? '.' : `; it shows the roll as of ${asOf}.`}
        </Banner>
      )}
      {!isAway && roll?.stale && ageMs !== null && (
        <Banner tone="bad" title="The store does not answer">
          The roll is as of {asOf}, {ageText(ageMs)} ago. Nodes go on running; their agents register again by
          themselves.
          {roll.lastError && <code>{roll.lastError}</code>}
        </Banner>
      )}
      {uncertainty && (
        <Banner tone="doubt" title={`${uncertainty.vanished} of ${uncertainty.nodes} nodes vanished at once`}>
          {`More than ${Math.round(uncertainty.limitShare * 100)} % and ${uncertainty.limitCount} nodes: the store or the network may be what failed. `}
          {Date.parse(uncertainty.until) > nowMs
            ? `Those that have not returned in ${ageText(Date.parse(uncertainty.until) - nowMs)} count as lost.`
            : 'It ends once the store has confirmed which of them are gone.'}
        </Banner>
      )}
      {!isAway && feed.drainsError !== null && (
        <Banner tone="note" title="The drains cannot be read">
          {printable(feed.drainsError)}.{' '}
          {feed.drains
            ? `They are shown as of ${momentText(nowMs - drainsAgeMs, nowMs)}.`
            : 'Which nodes are draining is not known.'}
        </Banner>
      )}
      {feed.drains && feed.draining > feed.drains.length && (
        <Banner
          tone="note"
          title={`Only ${feed.drains.length.toLocaleString('en')} of ${feed.draining.toLocaleString('en')} drains are shown`}
        >
          The number and the table know no more of them: rollcall status --cluster NAME counts those of a cluster.
        </Banner>
      )}
      {feed.audit?.stale && (
        <Banner tone="note" title="The audit is stale">
          {feed.audit.staleReason}
        </Banner>
      )}
    </div>
  );
}

export function Banner({ tone, title, children }: { tone: string; title: string; children: ComponentChildren }) {
  return (
    <p class={`banner ${tone}`}>
      <strong>{title}</strong> {children}
    </p>
  );
}
