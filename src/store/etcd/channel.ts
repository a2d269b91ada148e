import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { onAbort } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import { deferred } from '../../lib/deferred.ts';
import type { EtcdTls } from '../store-url.ts';
import { createDial } from './dial.ts';
import { type Call, ChannelImplementation, ConnectivityState, Metadata, type StatusObject } from './grpc-js.ts';

/** The most of one answer that is taken, in bytes: ten times etcd's largest value. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/**
 * After the last answer, while a call is under way, so that a dead connection is found within 9 s. etcd hangs up on clients
 * that ping more often than every 5 s, or while nothing is under way.
 */
const PING_EVERY_MS = 6_000;
const PING_TIMEOUT_MS = 3_000;

const CHANNEL_OPTIONS = {
  'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
  'grpc.keepalive_time_ms': PING_EVERY_MS,
  'grpc.keepalive_timeout_ms': PING_TIMEOUT_MS,
  // Between two attempts to connect. Calls fail at once meanwhile, and go to another endpoint.
  'grpc.initial_reconnect_backoff_ms': 250,
  'grpc.max_reconnect_backoff_ms': 2_000,
  // After the last call. An endpoint that fails is connected to again and again until then.
  'grpc.client_idle_timeout_ms': 60_000,
  // How much may come before it is taken: with 64 kB etcd stops sending whenever this process is busy with the answer before.
  'grpc-node.flow_control_window': 8 * 1024 * 1024,
  // Endpoints and repeats are chosen here; nothing is read from the environment or from DNS.
  'grpc.enable_retries': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_channelz': 0,
};

/** A call that failed: etcd refused it, or the connection did. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  /** gRPC's: https://grpc.io/docs/guides/status-codes/ */
  readonly code: number;
  /** There was a connection, and etcd may have seen the call. */
  readonly sent: boolean;
  constructor(code: number, message: string, sent: boolean, cause: unknown) {
    super(message, { cause });
    this.code = code;
    this.sent = sent;
  }
}

export type Headers = Readonly<Record<string, string>>;

/** A stream on which each message is answered by one before the next is sent. */
export interface Conversation {
  /** Whether a message can be sent: none is waiting for its answer, and the stream has not ended. */
  readonly state: 'free' | 'asked' | 'ended';
  /** Only while free. Given up or failed, the stream ends. @throws RpcError, or the reason of `signal` */
  ask(message: Buffer, signal?: AbortSignal): Promise<Buffer>;
  close(): void;
}

/** One connection to one endpoint, made by the first call and kept: a call that is given up leaves it to the others. */
export interface Channel {
  /** One message there, one back. @throws RpcError, or the reason of `signal` */
  call(method: { readonly path: string }, message: Buffer, headers: Headers, signal: AbortSignal): Promise<Buffer>;
  /** @throws RpcError when the channel is closed */
  converse(path: string, headers: Headers): Conversation;
  /** Sends the messages and takes those that come back, a few ahead of its consumer. Ends by `signal`. @throws RpcError, or its reason */
  stream(
    path: string,
    messages: readonly Buffer[],
    headers: Headers,
    signal: AbortSignal,
  ): AsyncIterableIterator<Buffer>;
  /** Calls under way fail. */
  close(): void;
}

/** @param lookup which addresses of a name are tried */
export function openChannel(
  url: string,
  tls: EtcdTls | null,
  clock: Clock,
  connectTimeoutMs: number,
  lookup: LookupFunction = systemLookup,
): Channel {
  const isReady = () => channel.getConnectivityState(false) === ConnectivityState.READY;
  const dial = createDial(url, tls, { clock, connectTimeoutMs, isReady, lookup });
  const channel = new ChannelImplementation(dial.target, dial.credentials, { ...CHANNEL_OPTIONS, ...dial.options });
  const underWay = new Set<Call>();
  let isClosed = false;

  const rpcError = ({ code, details }: StatusObject): RpcError => {
    const sent = !/^(No connection established|Name resolution failed)/.test(details);
    const reason = /Last error: (?:Error: )?(.*?)(?: \(\d{4}-\S+\))?\. Resolution note/.exec(details)?.[1] ?? details;
    return new RpcError(code, reason, sent, sent ? undefined : dial.lastError());
  };

  // Not by grpc-js's `Client`: for each call that makes interceptors, a Node stream or an error with a stack, a third of
  // what a heartbeat costs.
  const begin: Begin = (path, headers, onMessage, onEnd) => {
    if (isClosed) throw new RpcError(CANCELLED, 'the channel is closed', false, undefined);
    const call = channel.createCall(path, Number.POSITIVE_INFINITY, null, null, null);
    underWay.add(call);
    call.start(metadataOf(headers), {
      onReceiveMetadata: () => {},
      onReceiveMessage: (message) => {
        dial.succeeded();
        onMessage(message);
      },
      onReceiveStatus: (status) => {
        underWay.delete(call);
        onEnd(status.code === OK ? null : () => rpcError(status));
      },
    });
    return call;
  };

  return {
    call: async ({ path }, message, headers, signal) => {
      signal.throwIfAborted();
      return callOnce(begin, path, message, headers, signal);
    },
    converse: (path, headers) => converse(begin, path, headers),
    stream: (path, messages, headers, signal) => exchange(begin, path, messages, headers, signal),
    close: () => {
      isClosed = true;
      for (const call of underWay) cancel(call);
      channel.close();
      dial.close();
    },
  };
}

/** Begins a call, of which no message is read yet. @param onEnd gets what makes the error; null: it ended well */
type Begin = (
  path: string,
  headers: Headers,
  onMessage: (message: Buffer) => void,
  onEnd: (failure: (() => RpcError) | null) => void,
) => Call;

function callOnce(begin: Begin, path: string, message: Buffer, headers: Headers, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let answer: Buffer | null = null;
    const onMessage = (bytes: Buffer) => {
      answer ??= bytes;
    };
    const call = begin(path, headers, onMessage, (failure) => {
      aborting[Symbol.dispose]();
      if (failure !== null) reject(failure());
      else if (answer !== null) resolve(answer);
      else reject(unanswered());
    });
    const aborting = onAbort(signal, (reason) => {
      reject(reason);
      cancel(call);
    });
    call.startRead();
    call.sendMessageWithContext({}, message);
    call.halfClose();
  });
}

function converse(begin: Begin, path: string, headers: Headers): Conversation {
  type Waiting = { readonly resolve: (answer: Buffer) => void; readonly reject: (reason: unknown) => void };
  let waiting: Waiting | null = null;
  let isOver = false;
  const close = () => {
    if (isOver) return;
    isOver = true;
    cancel(call);
    waiting?.reject(new RpcError(CANCELLED, 'the stream was closed', true, undefined));
  };
  const call = begin(
    path,
    headers,
    (message) => {
      // An answer to nothing would be taken for that to the next message.
      if (waiting === null) close();
      waiting?.resolve(message);
      // At once, so that the end of the stream is heard of between two messages.
      if (!isOver) call.startRead();
    },
    (failure) => {
      isOver = true;
      // An error that nothing waits for would be a fortieth of a heartbeat's time.
      waiting?.reject(failure === null ? unanswered() : failure());
    },
  );
  call.startRead();

  return {
    get state() {
      if (isOver) return 'ended';
      return waiting === null ? 'free' : 'asked';
    },
    // No half-close: etcd's grpc-proxy hangs up on a client that will say no more, before it has answered.
    ask: (message, signal) =>
      new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        if (isOver || waiting !== null)
          throw new RpcError(UNAVAILABLE, isOver ? 'the stream has ended' : 'an answer is due', true, undefined);
        const settle = (act: () => void) => {
          waiting = null;
          aborting[Symbol.dispose]();
          act();
        };
        waiting = {
          resolve: (answer) => settle(() => resolve(answer)),
          reject: (reason) => settle(() => reject(reason)),
        };
        const aborting = onAbort(signal, (reason) => {
          waiting?.reject(reason);
          close();
        });
        call.sendMessageWithContext({}, message);
      }),
    close,
  };
}

function unanswered(): RpcError {
  return new RpcError(UNIMPLEMENTED, 'the call ended without an answer', true, undefined);
}

async function* exchange(
  begin: Begin,
  path: string,
  messages: readonly Buffer[],
  headers: Headers,
  signal: AbortSignal,
): AsyncIterableIterator<Buffer> {
  signal.throwIfAborted();
  let asked = deferred<Buffer | null>();
  // Kept, because the end may come right after a message, before the loop below waits for the next one.
  const end: { failure?: (() => RpcError) | null } = {};
  const endAsked = () => {
    if (end.failure === null) asked.resolve(null);
    else if (end.failure !== undefined) asked.reject(end.failure());
  };
  const call = begin(
    path,
    headers,
    (message) => asked.resolve(message),
    (failure) => {
      end.failure = failure;
      endAsked();
    },
  );
  // A reader that leaves between two answers never comes back to the `finally` below.
  using _aborting = onAbort(signal, (reason) => {
    asked.reject(reason);
    cancel(call);
  });
  asked.promise.catch(() => {}); // it may fail while nothing reads
  sendAll(call, messages);
  try {
    for (;;) {
      call.startRead();
      const answer = await asked.promise;
      if (answer === null) return;
      asked = deferred();
      asked.promise.catch(() => {}); // as above
      endAsked();
      yield answer;
      signal.throwIfAborted();
    }
  } finally {
    cancel(call);
  }
}

/** https://grpc.io/docs/guides/status-codes/ */
const OK = 0;
const CANCELLED = 1;
const UNIMPLEMENTED = 12;
const UNAVAILABLE = 14;

function cancel(call: Call): void {
  call.cancelWithStatus(CANCELLED, 'given up');
}

/** One after the other: a call keeps one message that could not be sent yet. */
function sendAll(call: Call, [message, ...rest]: readonly Buffer[]): void {
  if (message !== undefined) call.sendMessageWithContext({ callback: () => sendAll(call, rest) }, message);
}

function metadataOf(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}
