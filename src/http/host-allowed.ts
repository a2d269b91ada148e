const LOOPBACK_V4 = /^127(?:\.\d{1,3}){3}$/;

/**
 * Whether a request with this `Host` header may be answered. On a loopback address only loopback names are: a web page
 * can point a name of its own at 127.0.0.1 (DNS rebinding) and would then read the answers, but it cannot choose
 * another `Host` than that name. A request without the header (HTTP/1.0) comes from no browser.
 * @param listenHost the address the server listens on, without brackets
 */
export function hostAllowed(listenHost: string, hostHeader: string | undefined): boolean {
  if (!isLoopback(listenHost) || hostHeader === undefined) return true;
  const match = /^(\[[^\]]*\]|[^:]*)(?::\d*)?$/.exec(hostHeader.trim().toLowerCase());
  return match?.[1] !== undefined && isLoopback(match[1].replace(/^\[(.*)\]$/, '$1'));
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || LOOPBACK_V4.test(host);
}
