import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** The requests of one connection: one that is being answered, and those behind it. */
interface Turns {
  readonly waiting: [IncomingMessage, ServerResponse][];
  full: boolean;
}

type Begin = (req: IncomingMessage, res: ServerResponse) => void;

interface OneAtATime {
  /** Begins with the request now, or when those before it on its connection are answered. */
  readonly onRequest: Begin;
  /** Whether a request of this connection is being answered, or waits for it. */
  isAnswering(socket: Socket): boolean;
}

/**
 * Answers the requests of a connection one after the other. A client may send the next one before it has read the answer
 * to the last (pipelining, RFC 9112, section 9.3.2), and node:http hands on all of them at once: one client that reads
 * nothing would have a thousand answers in the agent's memory, and take the place of a thousand readers of events.
 * @param begin answers; the turn ends with the response's `close`
 * @param maxWaiting behind the one that is being answered; one more is refused, and those after it are not read
 * @param refuse answers that one; the connection must end with this answer
 */
export function oneAtATime(begin: Begin, maxWaiting: number, refuse: Begin): OneAtATime {
  const bySocket = new WeakMap<Socket, Turns>();

  const start = (socket: Socket, turns: Turns, [req, res]: [IncomingMessage, ServerResponse]) => {
    res.once('close', () => {
      // A connection that ends, as after an answer with `Connection: close`, takes no more of them.
      const next = socket.writable ? turns.waiting.shift() : undefined;
      if (next) start(socket, turns, next);
      else bySocket.delete(socket);
    });
    if (turns.full && turns.waiting.length === 0) refuse(req, res);
    else begin(req, res);
  };

  return {
    isAnswering: (socket) => bySocket.has(socket),

    onRequest(req, res) {
      const { socket } = req;
      if (!socket.writable) return; // as below
      const turns = bySocket.get(socket);
      if (!turns) {
        const first: Turns = { waiting: [], full: false };
        bySocket.set(socket, first);
        start(socket, first, [req, res]);
        return;
      }
      if (turns.full) return; // sent in the same bytes: the connection ends before its turn
      turns.waiting.push([req, res]);
      if (turns.waiting.length <= maxWaiting) return;
      turns.full = true;
      socket.pause();
    },
  };
}
