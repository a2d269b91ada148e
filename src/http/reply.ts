import type { IncomingHttpHeaders } from 'node:http';

/** What a route sees of a request. */
export interface RouteRequest {
  readonly method: 'GET' | 'HEAD';
  /** As it was asked for, without the query. */
  readonly path: string;
  readonly params: Readonly<Record<string, string | undefined>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** The port of ours that the request came to. */
  readonly port: number;
  /** Aborts when the client goes away, and for a stream when the server closes. */
  readonly signal: AbortSignal;
}

export interface Reply {
  readonly status: number;
  readonly contentType: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Pieces are taken one by one, as fast as the client reads them. Of a HEAD request none is taken. */
  readonly body: string | Pieces;
  /**
   * Makes the reply a stream that goes on until the client leaves or the server closes: called three times within the
   * limit for idle connections for a text that keeps it open, but never while the client has not read what came before.
   * Its pieces are to leave the loop to others now and then by themselves.
   */
  readonly heartbeat?: () => string;
}

export type Pieces = Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

/** Answers GET and HEAD alike. What it throws becomes a 500 without details, and its cause goes to `onError`. */
export type Handler = (request: RouteRequest) => Reply | Promise<Reply>;

/** Handlers by path; a path may have parameters, as in `/v1/containerInstances/:id`. */
export type Routes = Readonly<Record<string, Handler>>;

export function jsonReply(value: unknown): Reply {
  return { status: 200, contentType: 'application/json', body: `${JSON.stringify(value)}\n` };
}
