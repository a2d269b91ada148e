import { onAbort } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import type { EtcdTls } from '../store-url.ts';
import { createDial } from './dial.ts';
import { Client, type ClientDuplexStream, ConnectivityState, Metadata, type ServiceError } from './grpc-js.ts';

/** The most of one answer that is taken, in bytes: ten times etcd's largest value. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
/**
 * While a call is under way, so that a dead connection is found within 9 s. etcd hangs up on clients that ping more
 * often than every 5 s, or while nothing is under way.
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

/** A method by its path, and whether it is one of streams. */
interface Method {
  readonly path: string;
  readonly stream?: boolean;
}

/** One connection to one endpoint, made by the first call and kept: a call that is given up leaves it to the others. */
export interface Channel {
  /** One message there, one back. @throws RpcError, or the reason of `signal` */
  call(method: Method, message: Buffer, headers: Headers, signal: AbortSignal): Promise<Buffer>;
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

export function openChannel(url: string, tls: EtcdTls | null, clock: Clock, connectTimeoutMs: number): Channel {
  const isReady = () => client.getChannel().getConnectivityState(false) === ConnectivityState.READY;
  const dial = createDial(url, tls, { clock, connectTimeoutMs, isReady });
  const client = new Client(dial.target, dial.credentials, { ...CHANNEL_OPTIONS, ...dial.options });
  const underWay = new Set<{ cancel(): void }>();

  const rpcError = ({ code, details }: ServiceError): RpcError => {
    const sent = !/^(No connection established|Name resolution failed)/.test(details);
    const reason = /Last error: (?:Error: )?(.*?)(?: \(\d{4}-\S+\))?\. Resolution note/.exec(details)?.[1] ?? details;
    return new RpcError(code, reason, sent, sent ? undefined : dial.lastError());
  };

  const unary = (path: string, message: Buffer, headers: Headers, signal: AbortSignal): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const call = client.makeUnaryRequest(path, same, same, message, metadataOf(headers), {}, (error, answer) => {
        aborting[Symbol.dispose]();
        underWay.delete(call);
        if (error) return reject(rpcError(error));
        dial.succeeded();
        resolve(answer ?? Buffer.alloc(0));
      });
      underWay.add(call);
      const aborting = onAbort(signal, (reason) => {
        reject(reason);
        call.cancel();
      });
    });

  async function* stream(path: string, messages: readonly Buffer[], headers: Headers, signal: AbortSignal) {
    signal.throwIfAborted();
    const call: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(
      path,
      same,
      same,
      metadataOf(headers),
      {},
    );
    // A reader that leaves between two answers never comes back to the `finally` below.
    using _aborting = onAbort(signal, () => {
      underWay.delete(call);
      call.cancel();
    });
    underWay.add(call);
    // Without a listener, the error of a stream without a pending read would end the process.
    call.on('error', () => {});
    try {
      for (const message of messages) call.write(message);
      for await (const answer of call) {
        dial.succeeded();
        yield answer as Buffer;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw isServiceError(error) ? rpcError(error) : error;
    } finally {
      underWay.delete(call);
      call.cancel();
    }
  }

  return {
    call: async ({ path, stream: isStream }, message, headers, signal) => {
      signal.throwIfAborted();
      if (!isStream) return unary(path, message, headers, signal);
      for await (const answer of stream(path, [message], headers, signal)) return answer;
      throw new RpcError(13, 'the stream ended without an answer', true, undefined);
    },
    stream,
    close: () => {
      for (const call of underWay) call.cancel();
      client.close();
      dial.close();
    },
  };
}

/** Messages are encoded and decoded by their users. */
function same(message: Buffer): Buffer {
  return message;
}

function metadataOf(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error;
}
