const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);
const GROUP = /^[0-9a-f]{1,4}$/i;
const GROUPS = 8;

/**
 * An IPv4 or IPv6 address of another host: as `isIP` of Node, which a browser does not have, and without a zone id
 * (`fe80::1%eth0`), which may hold any text and means something on one host alone.
 */
export function isAddress(text: string): boolean {
  return IPV4.test(text) || isIPv6Address(text);
}

/** RFC 4291, section 2.2. */
function isIPv6Address(text: string): boolean {
  const halves = text.split('::');
  if (halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half === '' && halves.length === 2 ? [] : half.split(':')));
  // The last two groups may be an IPv4 address; `::` stands behind it never.
  const isMixed = halves.at(-1) !== '' && IPV4.test(groups.at(-1) ?? '');
  const length = groups.length + (isMixed ? 1 : 0);
  if (halves.length === 2 ? length >= GROUPS : length !== GROUPS) return false;
  return groups.every((group, n) => GROUP.test(group) || (isMixed && n === groups.length - 1));
}
