import { isHeldByConnection, PortInUseError } from '../http/held-port.ts';
import type { HttpServer } from '../http/server.ts';
import { abortable, untilAborted } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import { describeError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Task } from '../lib/run-group.ts';

/** Of ecs-agent's introspection. The kernel's setting is one list, so the advice names both ports. */
const ECS_AGENT_PORT = 51_678;
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
  /** Why the agent does not answer HTTP; null: it does. */
  readonly trouble: () => string | null;
  /** Tries again until it can listen, and then only waits. */
  readonly loop: Task<never>;
  close(): Promise<void>;
}

/**
 * Answers HTTP at once or, while a connection has the port, once it is free. Its node stays on the roll meanwhile: an agent
 * that ended would take it off for a minute, because of a connection that has nothing to do with it.
 * @throws RollcallError when it cannot listen for any other reason, such as another program that listens on the port
 */
export async function serveHttp(dependencies: ServingDependencies): Promise<Serving> {
  const { start, clock, log, onServing } = dependencies;
  const { host, port } = dependencies.listen;
  let server: HttpServer | null = null;
  let trouble: string | null = null;
  let closed = false;
  const begin = async () => {
    const opened = await start();
    if (closed) return opened.close();
    server = opened;
    trouble = null;
    onServing(server);
  };
  const wait = (reason: string) => {
    if (reason !== trouble) log.warn(`${reason}; the agent publishes, and answers HTTP once it can listen`);
    trouble = reason;
  };
  const reserved = `net.ipv4.ip_local_reserved_ports=${ECS_AGENT_PORT},${port}`;
  const taken = `port ${port} is taken by a connection of this host; ${reserved} in /etc/sysctl.d/ (it replaces the list) keeps it free`;
  try {
    await begin();
  } catch (error) {
    if (!(error instanceof PortInUseError) || !(await isHeldByConnection(host, port))) throw error;
    wait(taken);
  }
  return {
    trouble: () => trouble,
    async loop(signal) {
      while (server === null) {
        await clock.sleep(RETRY_MS, signal);
        try {
          await abortable(begin(), signal);
        } catch (error) {
          signal.throwIfAborted();
          const same = error instanceof PortInUseError && (await isHeldByConnection(host, port));
          wait(same ? taken : describeError(error));
        }
      }
      return untilAborted(signal);
    },
    async close() {
      closed = true;
      await server?.close();
    },
  };
}
