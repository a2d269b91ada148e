import { isListenedOn, PortInUseError } from '../http/held-port.ts';
import type { HttpServer } from '../http/server.ts';
import { untilAborted } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Task } from '../lib/run-group.ts';

/** Pause between two tries to listen. */
const RETRY_MS = 1_000;

interface ServingDependencies {
  readonly start: () => Promise<HttpServer>;
  readonly listen: { readonly host: string; readonly port: number };
  readonly clock: Clock;
  readonly log: Log;
  readonly onServing: (server: HttpServer) => void;
}

interface Serving {
  /** Tries again until the port is free, and then only waits. */
  readonly loop: Task<never>;
  close(): Promise<void>;
}

/**
 * Answers HTTP at once or, while an outgoing connection has the port, once it is free. Its node stays on the roll meanwhile:
 * that it ended would take the node off the roll for a minute, because of a connection that has nothing to do with it.
 * @throws RollcallError when it cannot listen for any other reason, such as another program that listens on the port
 */
export async function serveHttp({ start, listen, clock, log, onServing }: ServingDependencies): Promise<Serving> {
  let server: HttpServer | null = null;
  const begin = async () => {
    server = await start();
    onServing(server);
  };
  try {
    await begin();
  } catch (error) {
    if (!(error instanceof PortInUseError) || (await isListenedOn(listen.port))) throw error;
    log.warn(
      `port ${listen.port} is taken by an outgoing connection of this host; the agent publishes, and answers HTTP once the port is free; to reserve it: sysctl net.ipv4.ip_local_reserved_ports=${listen.port}`,
    );
  }
  return {
    async loop(signal) {
      while (server === null) {
        await clock.sleep(RETRY_MS, signal);
        await begin().catch((error: unknown) => {
          if (!(error instanceof PortInUseError)) throw error;
        });
      }
      return untilAborted(signal);
    },
    close: async () => server?.close(),
  };
}
