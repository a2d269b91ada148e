/**
 * Work of which one agent of the fleet is in charge. The office is a key bound to a lease: it falls vacant when its
 * holder resigns, or is silent for the lease's TTL. What the holder publishes is fenced: the store takes it only while
 * the key is still the one that this reign made, so that of a holder who was paused or cut off nothing arrives late.
 *
 * Methods reject as those of `Store` do. All of a reign's calls are to be made one after the other.
 */
export interface Offices {
  /** Who holds the office, and what was published, at one revision. Writes nothing. */
  look(office: string, documents: readonly string[], signal: AbortSignal): Promise<OfficeView>;

  /**
   * Takes the office where it is vacant, or goes on with it where this session holds it already: so after an answer that
   * was lost. Only a vacant office costs a write.
   */
  campaign(office: string, candidate: Candidate, signal: AbortSignal): Promise<CampaignOutcome>;

  /** Restarts the lease's time and looks whether the office is still this reign's. Writes no revision. */
  renew(reign: Reign, signal: AbortSignal): Promise<'renewed' | 'deposed'>;

  /**
   * Writes all of these documents at one revision, or none. Of two publications of one reign the later one wins, even
   * where the earlier one was rejected and the store would carry it out late.
   * @param documents name → text, `summary` among them
   */
  publish(reign: Reign, documents: Documents, signal: AbortSignal): Promise<PublishOutcome>;

  /** Leaves the office vacant, unless somebody else holds it. */
  resign(reign: Reign, signal: AbortSignal): Promise<void>;
}

export interface Candidate {
  readonly session: string;
  readonly instanceId: string | null;
  /** Whole seconds. The store may grant more; `Reign.ttlMs` is what it granted. */
  readonly ttlMs: number;
}

export interface Holder {
  readonly session: string;
  /** null where its holder did not know it. */
  readonly instanceId: string | null;
}

export interface OfficeView {
  readonly revision: string;
  /** null: vacant. */
  readonly holder: Holder | null;
  /** In the order they were asked for; null where there is none. */
  readonly documents: readonly (string | null)[];
}

/** An office that was taken. */
export interface Reign {
  readonly office: string;
  readonly session: string;
  readonly ttlMs: number;
  /** Of the key that this reign made: the fence. */
  readonly revision: string;
  /** The store's own identifier: opaque outside of it. */
  readonly lease: string;
}

export type Documents = Readonly<Record<string, string>> & { readonly summary: string };

export type CampaignOutcome =
  | { readonly kind: 'elected'; readonly reign: Reign }
  | { readonly kind: 'taken'; readonly by: Holder };

/** `deposed`: the store took nothing, because the office is not this reign's any more. */
export type PublishOutcome =
  | { readonly kind: 'published'; readonly revision: string }
  | { readonly kind: 'deposed'; readonly by: Holder | null };
