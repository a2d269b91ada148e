import { parseRevision } from '../../registry/event-source.ts';

/** Up to where a consumer has finished, and in which store. */
export interface SavedCursor {
  /** What `Store.id` says: revisions of two stores cannot be compared. */
  readonly store: string;
  /** null: it was in a snapshot that took the place of what was finished before, and begins with one again. */
  readonly revision: string | null;
}

const VERSION = 1;

export function encodeCursor({ store, revision }: SavedCursor): string {
  return `${JSON.stringify({ version: VERSION, store, revision })}\n`;
}

/** What a cursor file says, or why it cannot be used: a part of a sentence, with the value. */
export function parseCursor(text: string): SavedCursor | { readonly refusal: string } {
  if (text.trim() === '') return { refusal: 'it is empty' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { refusal: `it is not JSON, or cut short: ${quote(text)}` };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { refusal: `it holds no cursor: ${quote(text)}` };
  }
  const { version, store, revision } = value as Readonly<Record<string, unknown>>;
  if (version !== VERSION) return { refusal: `its version is ${quote(version)}, and this rollcall reads ${VERSION}` };
  if (typeof store !== 'string' || store === '') return { refusal: `its store is ${quote(store)}, which names none` };
  const parsed = typeof revision === 'string' ? parseRevision(revision) : revision === null ? null : undefined;
  if (parsed === undefined) {
    return { refusal: `its revision is ${quote(revision)}, not a whole number from 0 to 9223372036854775807 as text` };
  }
  return { store, revision: parsed };
}

function quote(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'missing');
  return value === undefined ? text : JSON.stringify(text.slice(0, 80));
}
