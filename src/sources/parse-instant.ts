/** `2027-01-21T09:00:43Z`, as spot and rebalance notices write it. */
const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/;
/** `21 Jan 2027 09:00:43 GMT`, as maintenance events write it. */
const RFC_1123 = /^\d{1,2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** An instant in either of EC2's forms as RFC 3339 in UTC; null for anything else, one without a time zone included. */
export function parseInstant(text: string): string | null {
  if (!RFC_3339.test(text) && !RFC_1123.test(text)) return null;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : new Date(ms).toISOString();
}
