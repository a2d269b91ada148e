const RTF_UP = 1;

/**
 * The interface of the IPv4 default route with the lowest metric, from the text of /proc/net/route; null: there is none.
 * Columns: https://www.kernel.org/doc/html/latest/filesystems/proc.html#networking-info-in-proc-net
 */
export function parseDefaultRoute(text: string): string | null {
  const routes = text.split('\n').flatMap((line) => {
    const [name = '', destination, , flags = '', , , metric = '', mask] = line.trim().split(/\s+/);
    const isDefault = destination === '00000000' && mask === '00000000' && (Number.parseInt(flags, 16) & RTF_UP) !== 0;
    return isDefault ? [{ name, metric: Number(metric) }] : [];
  });
  return routes.toSorted((a, b) => a.metric - b.metric)[0]?.name ?? null;
}
