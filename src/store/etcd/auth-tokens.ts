import type { Endpoint } from './endpoints.ts';

/** The token that all calls of one store share. */
export interface AuthTokens {
  /** The token, or null when there is none to send. Callers that come while one is being fetched wait for the same. */
  get(endpoint: Endpoint): Promise<string | null>;
  /** etcd refused this token; the next `get` fetches another. */
  drop(token: string | null): void;
}

/** @param fetchToken asks one endpoint, within a deadline of its own; null where authentication is not enabled */
export function authTokens(fetchToken: (endpoint: Endpoint) => Promise<string | null>): AuthTokens {
  let held: { readonly token: string | null } | null = null;
  // One flight per endpoint: a caller that gave up on one that hangs must not wait for it again at the next.
  const flights = new Map<Endpoint, Promise<string | null>>();

  const fetchOnce = (endpoint: Endpoint) => {
    const flight = fetchToken(endpoint)
      .then((token) => {
        held = { token };
        return token;
      })
      .finally(() => flights.delete(endpoint));
    flights.set(endpoint, flight);
    return flight;
  };

  return {
    get: async (endpoint) => (held ? held.token : (flights.get(endpoint) ?? fetchOnce(endpoint))),
    drop: (token) => {
      // A caller that was slow to notice must not throw away the token that another fetched meanwhile.
      if (held?.token === token) held = null;
    },
  };
}
