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
export function Banners(props: BannersProps) {
  const banners = bannersOf(props);
  return (
    <>
      <div class="banners">
        {banners.map(({ tone, title, body }) => (
          <Banner key={title} tone={tone} title={title}>
            {body}
          </Banner>
        ))}
      </div>
      {/* Their times change each second, which no reader can listen to. */}
      <p class="unseen" role="status">
        {banners.map(({ title }) => `${title}.`).join(' ')}
      </p>
    </>
  );
}

interface BannerText {
  readonly tone: 'bad' | 'doubt' | 'note';
  readonly title: string;
  readonly body: ComponentChildren;
}

function bannersOf({ feed, uncertainty, ageMs, drainsAgeMs, nowMs }: BannersProps): readonly BannerText[] {
  const asOf = ageMs === null ? '' : momentText(nowMs - ageMs, nowMs);
  const { roll } = feed.self ?? {};
  const isAway = feed.phase === 'retrying';
  const banners: BannerText[] = [];
  if (isAway) {
    const body = `${printable(feed.error ?? '')}. The page reconnects by itself${ageMs === null ? '.' : `; it shows the roll as of ${asOf}.`}`;
    banners.push({ tone: 'bad', title: ageMs === null ? 'No roll yet' : 'Not connected', body });
  } else if (roll?.stale && ageMs !== null) {
    const body = (
      <>
        The roll is as of {asOf}, {ageText(ageMs)} ago. Nodes go on running; their agents register again by themselves.
        {roll.lastError && <code>{printable(roll.lastError)}</code>}
      </>
    );
    banners.push({ tone: 'bad', title: 'The store does not answer', body });
  }
  if (uncertainty) {
    const { vanished, nodes, limitShare, limitCount, until } = uncertainty;
    const limits = `More than ${Math.round(limitShare * 100)} % and ${limitCount} nodes: the store or the network may be what failed.`;
    const end =
      Date.parse(until) > nowMs
        ? `Those that have not returned in ${ageText(Date.parse(until) - nowMs)} count as lost.`
        : 'It ends once the store has confirmed which of them are gone.';
    banners.push({ tone: 'doubt', title: `${vanished} of ${nodes} nodes vanished at once`, body: `${limits} ${end}` });
  }
  if (!isAway && feed.drainsError !== null) {
    const shown = feed.drains
      ? `They are shown as of ${momentText(nowMs - drainsAgeMs, nowMs)}.`
      : 'Which nodes are draining is not known.';
    const body = `${printable(feed.drainsError)}. ${shown}`;
    banners.push({ tone: 'note', title: 'The drains cannot be read', body });
  }
  if (feed.drains && feed.draining > feed.drains.length) {
    const [shown, all] = [feed.drains.length, feed.draining].map((count) => count.toLocaleString('en'));
    const body =
      'The number and the table know no more of them: rollcall status --cluster NAME counts those of a cluster.';
    banners.push({ tone: 'note', title: `Only ${shown} of ${all} drains are shown`, body });
  }
  if (feed.audit?.stale)
    banners.push({ tone: 'note', title: 'The audit is stale', body: printable(feed.audit.staleReason ?? '') });
  return banners;
}

export function Banner({ tone, title, children }: { tone: string; title: string; children: ComponentChildren }) {
  return (
    <p class={`banner ${tone}`}>
      <strong>{title}</strong> {children}
    </p>
  );
}
