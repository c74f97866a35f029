/**
 * HTTP for few and short questions, from clients of which none is trusted to be quick, or to speak
 * HTTP at all. How long each of them may hold a connection is bounded, and how many there are.
 *
 * The protocol is `node:http`'s, the connections are taken here. `Deno.serve` has no limit of time or
 * number, answers a request line that it cannot read with a 500, and writes a stack to the log of the
 * process; a listener of `node:net` takes no connection any more once the process was out of
 * descriptors.
 *
 * @module
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Duplex } from "node:stream";
import { acceptAll, type Listening } from "../uring/accept.ts";

/** The bounds of connections. Times are in milliseconds. */
export interface HttpLimits {
  /** From the connection to the whole of its request. */
  readonly requestMs: number;
  /** From a request until the client has taken the answer. */
  readonly answerMs: number;
  /** Connections at a time. One more is closed at once. */
  readonly connections: number;
}

/** What holds where nothing else is asked for. */
export const HTTP_LIMITS: HttpLimits = {
  requestMs: 10_000,
  answerMs: 10_000,
  connections: 64,
};

/** The longest head of a request, in bytes. */
const MAX_HEAD = 16_384;
/** Node looks over all connections so often, for limits of its own; the longest that a timer can be. */
const NEVER_MS = 2 ** 31 - 1;

/** An answer. */
export interface Answer {
  /** The status. */
  readonly status: number;
  /** The body. */
  readonly text: string;
  /** Headers beside the length. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** What is needed of a listener. */
type HttpListener = Listening<Deno.TcpConn | Deno.UnixConn> & { close(): void };

/**
 * Answers whoever connects, until the result is disposed of. What goes wrong with a connection ends
 * that connection, and is nobody else's affair.
 */
export function serveHttp(
  listener: HttpListener,
  answer: (method: string, path: string) => Promise<Answer>,
  limits: HttpLimits = HTTP_LIMITS,
): AsyncDisposable {
  const open = new Set<Connection>();
  const server = createServer({
    headersTimeout: 0,
    requestTimeout: 0,
    connectionsCheckingInterval: NEVER_MS,
    maxHeaderSize: MAX_HEAD,
  });
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    // What comes behind the first one gets no answer, and no more time for that of the first.
    if (Connection.of(request)?.takeRequest(limits.answerMs)) {
      void respond(request, response, answer);
    }
  });
  // No request of HTTP: said to whoever it is, and to nobody else.
  server.on("clientError", (_error: Error, socket: Duplex) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    else socket.destroy();
  });
  const serve = async (conn: Deno.TcpConn | Deno.UnixConn) => {
    const connection = new Connection(conn);
    open.add(connection);
    connection.wait(limits.requestMs);
    connection.begin(server);
    await connection.closed;
    open.delete(connection);
  };
  const taking = acceptAll(listener, serve, limits.connections);
  return {
    async [Symbol.asyncDispose]() {
      listener.close();
      await taking;
      for (const connection of open) connection.end();
      await Promise.all(Array.from(open, ({ closed }) => closed));
    },
  };
}

/** One connection, and the time that its client has for the next thing that is its to do. */
class Connection {
  /** Resolves once it is closed. */
  readonly closed: Promise<void>;
  readonly #duplex: Duplex;
  #timer?: ReturnType<typeof setTimeout>;
  #asked = false;
  static readonly #ofDuplex = new WeakMap<object, Connection>();

  constructor(conn: Deno.TcpConn | Deno.UnixConn) {
    const { readable, writable } = conn;
    this.#duplex = Duplex.fromWeb({ readable, writable } as Parameters<typeof Duplex.fromWeb>[0]);
    Connection.#ofDuplex.set(this.#duplex, this);
    // Whoever it was has gone.
    this.#duplex.on("error", () => {});
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#duplex.once("close", () => {
      clearTimeout(this.#timer);
      try {
        conn.close();
      } catch {
        // Its streams have closed it.
      }
      resolve();
    });
  }

  /** The connection that a request came by. */
  static of(request: IncomingMessage): Connection | undefined {
    return Connection.#ofDuplex.get(request.socket);
  }

  /** Has its requests read and answered. */
  begin(server: Server): void {
    server.emit("connection", this.#duplex);
  }

  /** Whether it is the first, for whose answer there is so much time. */
  takeRequest(answerMs: number): boolean {
    if (this.#asked) return false;
    this.#asked = true;
    this.wait(answerMs);
    return true;
  }

  /** Ends it after some time, instead of after that which was set before. */
  wait(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end(), ms);
  }

  /** Ends it at once. */
  end(): void {
    this.#duplex.destroy();
  }
}

async function respond(
  { method = "", url = "" }: IncomingMessage,
  response: ServerResponse,
  answer: (method: string, path: string) => Promise<Answer>,
): Promise<void> {
  const { status, text, headers } = await answerTo(method, url, answer);
  response.writeHead(status, {
    // One request each: so nobody holds a connection between two, and nothing that comes behind one is
    // taken for the next.
    "connection": "close",
    "content-type": "text/plain; charset=utf-8",
    "content-length": new TextEncoder().encode(text).length,
    ...headers,
  });
  response.end(method === "HEAD" ? undefined : text);
}

async function answerTo(
  method: string,
  url: string,
  answer: (method: string, path: string) => Promise<Answer>,
): Promise<Answer> {
  const { pathname } = URL.parse(url, "http://localhost") ?? {};
  if (pathname === undefined) return { status: 400, text: "This is no URL.\n" };
  try {
    return await answer(method, pathname);
  } catch (error) {
    return { status: 500, text: `${error instanceof Error ? error.message : error}\n` };
  }
}
